//! `seaworthy pki plan`: the rotation plan in words.

use std::fmt::Write as _;

use seaworthy_checks::pki::plan::Rotation;

pub(super) fn text(plan: &[Rotation], days: u16) -> String {
    if plan.is_empty() {
        return format!("Nothing expires within {days} days.\n");
    }
    let mut out = String::new();
    for (number, rotation) in plan.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{}{}. {}", if number > 0 { "\n" } else { "" }, number + 1, rotation.title);
        for (index, step) in rotation.steps.iter().enumerate() {
            let mark = if step.done { "done" } else { "    " };
            let _ = writeln!(out, "   {mark} {}.{} {}", number + 1, index + 1, step.what);
            for command in &step.commands {
                let _ = writeln!(out, "            {command}");
            }
        }
    }
    out
}
