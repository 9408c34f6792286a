//! The HTML report in a real browser: offline, filtered, linked to, dark.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::path::Path;
use std::process::Command;

/// The page's DOM after its script ran, or `None` where there is no Chromium.
fn dom(page: &Path, query: &str, more: &[&str]) -> Option<String> {
    if !Path::new("/usr/bin/chromium").exists() {
        assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs chromium");
        println!("skipped: it needs /usr/bin/chromium");
        return None;
    }
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new("/usr/bin/chromium");
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    // Nothing may be asked of any host.
    command.args(["--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=3000", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", profile.path().display())).args(more);
    let output = command.arg(format!("file://{}{query}", page.display())).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("</html>"), "{}", String::from_utf8_lossy(&output.stderr));
    Some(text)
}

/// A page with scripts around its own: one that runs first, and one that runs last.
fn with_scripts(page: &Path, first: &str, last: &str) -> std::path::PathBuf {
    let text = std::fs::read_to_string(page).unwrap();
    let text = text.replacen("<head>", &format!("<head><script>{first}</script>"), 1);
    let changed = page.with_file_name("scripted.html");
    std::fs::write(&changed, text.replace("</body>", &format!("<script>{last}</script></body>"))).unwrap();
    changed
}

#[test]
fn every_block_of_commands_has_a_copy_button_that_works_without_a_clipboard_too() {
    let dir = tempfile::tempdir().unwrap();
    let node = Path::new(env!("CARGO_MANIFEST_DIR")).join("../checks/nodes/recorded/this-machine.tar.zst");
    let mut run = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
    run.args(["run", "--passive", "--focus", r"node\.sysctl\.kernel\.panic$", "--host"]).arg(&node);
    run.arg("-O").arg(dir.path()).env_remove("FOCUS").env_remove("SKIP").output().unwrap();
    let page = dir.path().join("report.html");
    let blocks = std::fs::read_to_string(&page).unwrap().matches("<pre").count();
    assert!(blocks >= 3, "commands, file and waiver: {blocks}");

    let Some(shown) = dom(&page, "", &[]) else { return };
    let button = "<div class=\"block\"><button class=\"copy\" type=\"button\" aria-label=\"Copy: ";
    assert_eq!(shown.matches(button).count(), blocks, "each block has a button that can be focused and has a name");

    let click = "for (const button of document.querySelectorAll('button.copy')) button.click()";
    let kept = "document.documentElement.dataset.kept = (document.documentElement.dataset.kept || '') + text";
    let clipboard = format!(
        "Object.defineProperty(navigator, 'clipboard', {{ value: {{ writeText: async (text) => {{ {kept}; }} }} }});"
    );
    let none = format!(
        "Object.defineProperty(navigator, 'clipboard', {{ value: undefined }}); \
         document.execCommand = () => {{ const text = document.activeElement.value; {kept}; return true; }};"
    );
    for first in [clipboard, none] {
        let shown = dom(&with_scripts(&page, &first, click), "", &[]).unwrap();
        let kept = shown.split("data-kept=\"").nth(1).unwrap_or_else(|| panic!("nothing was copied: {first}"));
        let kept = &kept[..kept.find('"').unwrap()];
        assert!(kept.contains("sysctl -w kernel.panic=10") && kept.contains("[[waiver]]"), "{kept}");
        assert!(!kept.contains("Copy"), "the button's own text is not copied: {kept}");
        assert_eq!(shown.matches(">Copied</button>").count(), blocks);
    }
}

/// The opening tag of a check.
fn tag<'d>(dom: &'d str, id: &str) -> &'d str {
    let at = dom.find(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("{id} is not in the page"));
    let begin = dom[..at].rfind('<').unwrap();
    &dom[begin..at + dom[at..].find('>').unwrap()]
}

#[test]
fn the_page_filters_links_and_darkens_without_a_network() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
    run.args(["run", "--passive", "--focus", r"node\.(sysctl|machine|cgroup)", "-O"]).arg(dir.path());
    run.env_remove("FOCUS").env_remove("SKIP").output().unwrap();
    let page = dir.path().join("report.html");

    let Some(all) = dom(&page, "", &[]) else { return };
    let shown = |dom: &str| {
        let at = dom.find("id=\"shown\"").unwrap();
        let text = &dom[at..at + dom[at..].find('<').unwrap()];
        text[text.find('>').unwrap() + 1..].to_owned()
    };
    let count = all.matches("class=\"check ").count();
    assert!(count > 30);
    assert_eq!(shown(&all), format!("{count} of {count} shown"));

    let filtered = dom(&page, "?q=swap", &[]).unwrap();
    assert!(tag(&filtered, "node.machine.cpus").contains("hidden"));
    assert!(!tag(&filtered, "node.machine.swap").contains("hidden"));
    assert_ne!(shown(&filtered), shown(&all));

    let linked = dom(&page, "#node.machine.cpus", &[]).unwrap();
    assert!(tag(&linked, "node.machine.cpus").contains("open"));
    assert!(!tag(&linked, "node.machine.swap").contains("open"));

    // The style that a person with a dark desktop gets.
    let script = "<script>document.body.dataset.seen = getComputedStyle(document.body).backgroundColor</script>";
    let text = std::fs::read_to_string(&page).unwrap().replace("</body>", &format!("{script}</body>"));
    // The page's policy forbids scripts that it does not name, as it should: without it the color can be asked for.
    let policy = text.find("<meta http-equiv=\"Content-Security-Policy\"");
    let text = match policy {
        Some(at) => format!("{}{}", &text[..at], &text[at + text[at..].find('>').unwrap() + 1..]),
        None => text,
    };
    let probe = dir.path().join("probe.html");
    std::fs::write(&probe, text).unwrap();
    let color = |more: &[&str]| {
        let dom = dom(&probe, "", more).unwrap();
        let at = dom.find("data-seen=\"").expect("the script ran") + 11;
        dom[at..at + dom[at..].find('"').unwrap()].to_owned()
    };
    assert_eq!(color(&["--blink-settings=preferredColorScheme=1"]), "rgb(251, 252, 253)");
    assert_eq!(color(&["--blink-settings=preferredColorScheme=0"]), "rgb(16, 22, 28)");
}
