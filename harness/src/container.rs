//! The container's entry: the contract of the old node-test image.
//!
//! `SEAWORTHY_ROOTFS`, set in our image, makes a call without arguments `run --host $SEAWORTHY_ROOTFS -O
//! ${REPORT_PATH:-/var/result}`, with the words of `TEST_ARGS` behind it. In an image with the programs of a control
//! plane it runs the node-conformance suite, too, beside the node's kubelet. FOCUS, SKIP, PARALLELISM, REPORT_PATH and
//! FLAKE_ATTEMPTS are honored by `run` itself, in a container or not.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::fault::Fault;
use crate::run::CONTROL_PLANE as PROGRAMS;

/// The arguments to parse: those given, or those that the container's environment stands for.
///
/// # Errors
/// If TEST_ARGS has an open quote, or a folder that the environment names is not mounted.
pub(crate) fn arguments(given: Vec<OsString>, env: impl Fn(&str) -> Option<String>) -> Result<Vec<OsString>, Fault> {
    let Some(root) = env("SEAWORTHY_ROOTFS").filter(|_| given.len() < 2) else { return Ok(given) };
    if !Path::new(&root).is_dir() {
        return Err(Fault::usage(format!("SEAWORTHY_ROOTFS is {root}, and there is no such folder"))
            .hint(format!("mount the node's root: -v /:{root}:ro")));
    }
    for name in ["CONFIG_DIR", "KUBELET_CONFIG"] {
        if let Some(path) = env(name).filter(|path| !path.is_empty())
            && !Path::new(&path).exists()
            && !Path::new(&root).join(path.trim_start_matches('/')).exists()
        {
            return Err(Fault::usage(format!("{name} is {path}, which is neither here nor on the node"))
                .hint(format!("mount it: -v {path}:{path}")));
        }
    }
    let report = env("REPORT_PATH").unwrap_or_else(|| "/var/result".to_owned());
    let mut arguments = given;
    arguments.extend(["run", "--host", &root, "-O", &report].map(OsString::from));
    let more = env("TEST_ARGS").unwrap_or_default();
    let more = shlex::split(&more).ok_or_else(|| Fault::usage(format!("TEST_ARGS has an open quote: {more}")))?;
    if has_control_plane(&env("PATH").unwrap_or_default()) && !more.iter().any(|word| word.starts_with("--suite")) {
        arguments.extend(["--suite", "node", "--suite", "node-conformance", "--beside-kubelet"].map(OsString::from));
    }
    arguments.extend(more.into_iter().map(OsString::from));
    Ok(arguments)
}

/// Are the programs there that a control plane beside the kubelet consists of?
fn has_control_plane(path: &str) -> bool {
    let has = |name: &&str| std::env::split_paths(path).any(|folder| folder.join(name).is_file());
    PROGRAMS.iter().all(has)
}

/// Is a path mounted into our container? CONFIG_DIR and KUBELET_CONFIG may be here instead of on the node.
pub(crate) fn has(path: &str) -> bool {
    is_ours() && Path::new(path).exists()
}

/// Why reports in a folder are lost when our container ends; `None` if they are kept, or if this is no container of
/// ours.
pub(crate) fn loses(folder: &Path) -> Option<String> {
    std::env::var_os("SEAWORTHY_ROOTFS")?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let folder = std::path::absolute(folder).ok()?;
    let mount = mount_of(&folder, &mounts);
    // What is not on a volume is on the container's own root, which goes with it.
    (mount == Path::new("/")).then(|| unmounted(&folder))
}

/// What to do so that reports in a folder are kept.
pub(crate) fn unmounted(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "no volume is mounted at {folder}, and the container takes its files with it; add -v \"$PWD/results\":{folder}"
    )
}

/// Are we in a container of ours?
pub(crate) fn is_ours() -> bool {
    std::env::var_os("SEAWORTHY_ROOTFS").is_some()
}

/// The mount point that holds a path, by the text of /proc/self/mountinfo.
fn mount_of(path: &Path, mounts: &str) -> PathBuf {
    // Blanks, tabs, line feeds and backslashes are escaped there (proc_pid_mountinfo(5)).
    let plain =
        |field: &str| field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\");
    let points = mounts.lines().filter_map(|line| Some(PathBuf::from(plain(line.split(' ').nth(4)?))));
    points.filter(|point| path.starts_with(point)).max_by_key(|point| point.as_os_str().len()).unwrap_or("/".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_on_the_mount_that_holds_it() {
        let mounts = "21 1 0:20 / / rw - overlay o rw\n\
                      22 21 0:21 / /var/result rw - ext4 /dev/sda1 rw\n\
                      23 21 0:22 / /my\\040results rw - ext4 /dev/sda1 rw\n";
        let of = |path: &str| mount_of(Path::new(path), mounts).display().to_string();
        assert_eq!(of("/var/result"), "/var/result");
        assert_eq!(of("/var/result/today"), "/var/result");
        assert_eq!(of("/var/results"), "/");
        assert_eq!(of("/my results"), "/my results");
    }

    fn run(env: &[(&str, &str)], given: &[&str]) -> Result<Vec<String>, u8> {
        let find = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        arguments(given.iter().map(OsString::from).collect(), find)
            .map(|words| words.into_iter().map(|word| word.into_string().unwrap()).collect())
            .map_err(|fault| fault.code())
    }

    #[test]
    fn the_container_runs_the_node_suite() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().to_str().unwrap();
        let env = [("SEAWORTHY_ROOTFS", root), ("TEST_ARGS", "--role 'worker' --passive")];
        let expected = ["seaworthy", "run", "--host", root, "-O", "/var/result", "--role", "worker", "--passive"]
            .map(str::to_owned);
        assert_eq!(run(&env, &["seaworthy"]).unwrap(), expected);
        let programs = tempfile::tempdir().unwrap();
        let env = [("SEAWORTHY_ROOTFS", root), ("PATH", programs.path().to_str().unwrap())];
        assert_eq!(run(&env, &["seaworthy"]).unwrap().len(), 6);
        PROGRAMS.iter().for_each(|name| std::fs::write(programs.path().join(name), "").unwrap());
        let more = ["--suite", "node", "--suite", "node-conformance", "--beside-kubelet"];
        assert_eq!(run(&env, &["seaworthy"]).unwrap()[6..], more);
        let own = [&env[..], &[("TEST_ARGS", "--suite pki")]].concat();
        assert_eq!(run(&own, &["seaworthy"]).unwrap()[6..], ["--suite", "pki"]);
        assert_eq!(run(&env, &["seaworthy", "list"]).unwrap(), ["seaworthy", "list"]);
        assert_eq!(run(&[], &["seaworthy"]).unwrap(), ["seaworthy"]);
    }

    #[test]
    fn what_is_not_mounted_is_a_usage_error() {
        assert_eq!(run(&[("SEAWORTHY_ROOTFS", "/nonexistent")], &["seaworthy"]), Err(2));
        assert_eq!(run(&[("SEAWORTHY_ROOTFS", "/"), ("TEST_ARGS", "'open")], &["seaworthy"]), Err(2));
        assert_eq!(run(&[("SEAWORTHY_ROOTFS", "/"), ("CONFIG_DIR", "/nonexistent")], &["seaworthy"]), Err(2));
    }
}
