//! kubeadm's answer to a file: its own loader, linked by a program of ours.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn required(what: &str) {
    assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs {what}");
    println!("skipped: it needs {what}");
}

fn go(folder: &Path) -> Command {
    let mut command = Command::new("go");
    // As the programs of a cluster are built, so that what those compiled is not compiled again.
    command.current_dir(folder).env("CGO_ENABLED", "0").env("GOFLAGS", "-mod=mod").env("GOWORK", "off");
    command
}

/// Builds the oracle in a module of kubeadm's. `None` where there is no Go.
pub(crate) fn oracle(folder: &Path, manifest: &str, sums: &str) -> Option<PathBuf> {
    if !Command::new("go").arg("version").output().is_ok_and(|output| output.status.success()) {
        required("Go");
        return None;
    }
    std::fs::create_dir_all(folder).unwrap();
    for (name, content) in [("go.mod", manifest), ("go.sum", sums), ("main.go", include_str!("oracle/main.go"))] {
        std::fs::write(folder.join(name), content).unwrap();
    }
    let flags = ["build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", "oracle", "."];
    let built = go(folder).args(flags).output().unwrap();
    if !built.status.success() {
        let said = String::from_utf8_lossy(&built.stderr).into_owned();
        required(&format!("the modules of kubeadm: {said}"));
        return None;
    }
    Some(folder.join("oracle"))
}

/// What kubeadm says of each file: empty if it takes it.
pub(crate) fn ask(program: &Path, texts: &[String]) -> Vec<String> {
    // Labels of versions would be asked of the internet.
    let mut command = Command::new(program);
    command.env("HTTPS_PROXY", "http://127.0.0.1:1").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let questions: String = texts.iter().map(|text| format!("{}\n", serde_json::json!({ "Text": text }))).collect();
    let writer = std::thread::spawn(move || stdin.write_all(questions.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}
