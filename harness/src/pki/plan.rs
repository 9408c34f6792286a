//! `seaworthy pki plan`: the rotation plan in words.

use std::fmt::Write as _;

use seaworthy_checks::pki::plan::Rotation;

pub(super) fn text(plan: &[Rotation], days: u16, missing: &[String]) -> String {
    let mut out = String::new();
    if plan.is_empty() {
        let of = if missing.is_empty() { "Nothing" } else { "Of what can be read nothing" };
        // Writing to a string does not fail.
        let _ = writeln!(out, "{of} expires within {days} days.");
    }
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
    if !missing.is_empty() {
        let _ = writeln!(out, "\nThis plan is incomplete:");
        out.extend(missing.iter().map(|why| format!("   - {why}\n")));
    }
    out
}
