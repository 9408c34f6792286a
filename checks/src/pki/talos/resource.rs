//! A machine configuration as `talosctl get machineconfig v1alpha1 -o yaml` prints it: the spec of a resource.

use std::borrow::Cow;

const TYPE: &str = "type: MachineConfigs.config.talos.dev";

/// The configuration in a resource, at the same lines; any other text as it is.
///
/// # Errors
/// The line of what is in the way, and what to do. Nothing of the text is said.
pub(super) fn unwrapped(text: &str) -> Result<Cow<'_, str>, (u32, String)> {
    if !text.lines().any(|line| line.trim() == TYPE) {
        return Ok(Cow::Borrowed(text));
    }
    const PLAIN: &str =
        "`talosctl get machineconfig v1alpha1 -o jsonpath='{.spec}'` with one node prints what can be read";
    let broken =
        |index: usize, why: &str| Err((u32::try_from(index + 1).unwrap_or(u32::MAX), format!("{why}: {PLAIN}")));
    let mut specs = text.lines().enumerate().filter_map(|(index, line)| Some((index, line.strip_prefix("spec:")?)));
    let Some((start, style)) = specs.next() else { return broken(0, "it is a resource without a spec") };
    if let Some((other, _)) = specs.next() {
        return broken(other, "it holds more than one configuration");
    }
    let style = style.trim_start();
    if !style.is_empty() && !style.starts_with(['|', '#']) {
        return broken(start, "its spec is not in lines of its own");
    }
    let lines = text.lines().skip(start + 1);
    let body: Vec<_> = lines.take_while(|line| line.is_empty() || line.starts_with([' ', '\r'])).collect();
    let first = body.iter().find(|line| !line.trim().is_empty());
    let indent = first.map_or(0, |line| line.len() - line.trim_start_matches(' ').len());
    let mut plain = "\n".repeat(start + 1);
    for line in body {
        // Lines that are blank may be shorter.
        plain.push_str(line.get(indent..).unwrap_or_default());
        plain.push('\n');
    }
    Ok(Cow::Owned(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "node: 192.0.2.10\nmetadata:\n    type: MachineConfigs.config.talos.dev\n    id: v1alpha1\n";

    #[test]
    fn the_spec_keeps_its_lines() {
        for style in ["", " |", " |-", " # by hand"] {
            let text =
                format!("{HEAD}spec:{style}\n    version: v1alpha1\n\n    machine:\n      type: worker\nnode: x\n");
            let plain = "\n\n\n\n\nversion: v1alpha1\n\nmachine:\n  type: worker\n";
            assert_eq!(unwrapped(&text).as_deref(), Ok(plain), "{style}");
        }
        let other = "version: v1alpha1\nmachine:\n    type: worker\n";
        assert_eq!(unwrapped(other).as_deref(), Ok(other));
    }

    #[test]
    fn what_cannot_be_unwrapped_is_said_with_its_line() {
        for (rest, line, why) in [
            ("", 1, "without a spec"),
            ("spec: \"version: v1alpha1\\nmachine: {}\"\n", 5, "not in lines of its own"),
            ("spec: |\n    a: b\n---\nspec: |\n    a: b\n", 8, "more than one"),
        ] {
            let (at, said) = unwrapped(&format!("{HEAD}{rest}")).unwrap_err();
            assert!(at == line && said.contains(why), "{at}: {said}");
        }
    }
}
