//! containerd's effective configuration against the real `containerd config dump`: Debian's 1.6, and 2.x where
//! `SEAWORTHY_CONTAINERD` names one.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "test code that says what it skips")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use seaworthy_checks::construct::{apply, file, lay as lay_node, value};
use seaworthy_checks::effective::Origin;
use seaworthy_checks::effective::containerd::{Containerd, Launch, Release};
use seaworthy_checks::host::{CriCall, LiveHost, Query, Transcript};
use seaworthy_checks::node::{Facts, View, checks};
use seaworthy_checks::{Breach, Fact, Profile, Verdict};
use serde_json::{Value, json};

/// A configuration: its name and its files, the main one first. `DIR` stands for their folder.
type Case = (&'static str, &'static [(&'static str, &'static str)]);

const RUNC_2: &str = r#"[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = true
"#;

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("an empty file", &[("config.toml", "")]),
    ("no version, a short name", &[("config.toml", "[plugins.cri.containerd.runtimes.runc.options]\n\
                                                    SystemdCgroup = true\n")]),
    ("version 1, a short name", &[("config.toml", "version = 1\n[plugins.cri.containerd.runtimes.runc]\n\
                                                   runtime_type = \"io.containerd.runc.v2\"\n\
                                                   [plugins.cri.containerd.runtimes.runc.options]\n\
                                                   SystemdCgroup = true\n[plugins.cri.cni]\nbin_dir = \"/x\"\n")]),
    ("no version, a whole name", &[("config.toml", RUNC_2)]),
    ("version 2", &[("config.toml", "version = 2\nINCLUDE_RUNC")]),
    ("version 2, options alone", &[("config.toml", "version = 2\n\
         [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n\
         SystemdCgroup = true\n")]),
    ("another default runtime", &[("config.toml", "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\n\
         default_runtime_name = \"nvidia\"\n\
         [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.nvidia]\n\
         runtime_type = \"io.containerd.runc.v2\"\n\
         [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.nvidia.options]\n\
         BinaryName = \"/usr/bin/nvidia-container-runtime\"\n\
         SystemdCgroup = true\n\
         [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.other.options]\n\
         SystemdCgroup = false\n")]),
    ("a default runtime that is missing", &[("config.toml", "version = 2\n\
                                                             [plugins.\"io.containerd.grpc.v1.cri\".containerd]\n\
                                                             default_runtime_name = \"kata\"\n")]),
    ("an import of the same plug-in", &[
        ("config.toml", "version = 2\nimports = [\"b.toml\"]\n[plugins.\"io.containerd.grpc.v1.cri\"]\n\
                         sandbox_image = \"a/pause:1\"\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\n\
                         bin_dir = \"/a\"\n"),
        ("b.toml", "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n\
                    SystemdCgroup = true\n"),
    ]),
    ("an import that turns it off", &[
        ("config.toml", "version = 2\nimports = [\"DIR/b.toml\"]\nINCLUDE_RUNC"),
        ("b.toml", "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n\
                    SystemdCgroup = false\n"),
    ]),
    ("an import of another plug-in", &[
        ("config.toml", "version = 2\nimports = [\"b.toml\"]\nINCLUDE_RUNC"),
        ("b.toml", "version = 2\n[plugins.\"io.containerd.gc.v1.scheduler\"]\npause_threshold = 0.03\n"),
    ]),
    ("an import without a version", &[
        ("config.toml", "version = 2\nimports = [\"b.toml\"]\nINCLUDE_RUNC"),
        ("b.toml", "[plugins.cri]\nsandbox_image = \"b/pause:1\"\n"),
    ]),
    ("an import of version 1", &[
        ("config.toml", "version = 2\nimports = [\"b.toml\"]\nINCLUDE_RUNC"),
        ("b.toml", "version = 1\n[plugins.opt]\npath = \"/opt/x\"\n"),
    ]),
    ("a relative pattern", &[
        ("config.toml", "version = 2\nimports = [\"conf.d/*.toml\"]\n"),
        ("conf.d/a.toml", "version = 2\nINCLUDE_RUNC"),
        ("conf.d/ignored.conf", "not TOML"),
    ]),
    ("an absolute pattern, in the order of names", &[
        ("config.toml", "version = 2\nimports = [\"DIR/conf.d/*.toml\"]\n"),
        ("conf.d/20.toml", "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\nconf_dir = \"/twenty\"\n"),
        ("conf.d/10.toml", "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\nconf_dir = \"/ten\"\n\
                            bin_dir = \"/ten/bin\"\n"),
        ("conf.d/.hidden.toml", "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\nmax_conf_num = 3\n"),
    ]),
    ("a pattern with a class", &[
        ("config.toml", "version = 2\nimports = [\"DIR/[a-b]*.toml\"]\n"),
        ("b.toml", "version = 2\nINCLUDE_RUNC"),
        ("d.toml", "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n"),
    ]),
    ("a pattern that fits nothing", &[("config.toml", "version = 2\nimports = [\"DIR/none/*.toml\"]\nINCLUDE_RUNC")]),
    ("a bad pattern", &[("config.toml", "version = 2\nimports = [\"DIR/[*.toml\"]\n")]),
    ("imports of imports, breadth first", &[
        ("config.toml", "version = 2\nimports = [\"b.toml\", \"c.toml\"]\n"),
        ("b.toml", "version = 2\nimports = [\"sub/d.toml\"]\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\n\
                    conf_dir = \"/b\"\n"),
        ("c.toml", "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\nconf_dir = \"/c\"\n"),
        ("sub/d.toml", "version = 2\nimports = [\"../config.toml\"]\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\n\
                        conf_dir = \"/d\"\n"),
    ]),
    ("files that import each other", &[
        ("config.toml", "version = 2\nimports = [\"b.toml\"]\nroot = \"/a\"\n"),
        ("b.toml", "version = 2\nimports = [\"DIR/config.toml\", \"./b.toml\"]\nroot = \"/b\"\nstate = \"\"\n"),
    ]),
    ("plug-ins disabled in an import", &[
        ("config.toml", "version = 2\nimports = [\"b.toml\"]\n\
                         disabled_plugins = [\"io.containerd.snapshotter.v1.zfs\"]\n"),
        ("b.toml", "version = 2\n\
                    disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.snapshotter.v1.zfs\"]\n"),
    ]),
    ("a short name disabled in version 2", &[("config.toml", "version = 2\n\ndisabled_plugins = [\"cri\"]\n")]),
    ("a short name disabled in an import", &[
        ("config.toml", "version = 2\nimports = [\"b.toml\"]\n"),
        ("b.toml", "version = 2\ndisabled_plugins = [\"cri\"]\n"),
    ]),
    ("Docker's stub", &[("config.toml", "disabled_plugins = [\"cri\"]\n")]),
    ("a whole name disabled in version 1", &[("config.toml", "disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n")]),
    ("a short name of a plug-in in version 2", &[("config.toml", "version = 2\n[plugins.cri]\n\
                                                                  sandbox_image = \"x\"\n")]),
    ("version 3", &[("config.toml", "version = 3\n[plugins.\"io.containerd.cri.v1.images\".pinned_images]\n\
                                     sandbox = \"x/pause:1\"\n\
                                     [plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.runc.options]\n\
                                     SystemdCgroup = true\n[plugins.\"io.containerd.cri.v1.runtime\".cni]\n\
                                     bin_dirs = [\"/a\", \"/b\"]\n")]),
    ("version 3 with the plug-in of version 2", &[("config.toml", "version = 3\nINCLUDE_RUNC")]),
    ("version 2 that imports version 3", &[
        ("config.toml", "version = 2\nimports = [\"b.toml\"]\nINCLUDE_RUNC"),
        ("b.toml", "version = 3\n[plugins.\"io.containerd.cri.v1.runtime\".cni]\nbin_dirs = [\"/a\", \"/b\"]\n"),
    ]),
    ("version 3 that imports version 2", &[
        ("config.toml", "version = 3\nimports = [\"b.toml\"]\n\
                         [plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.runc.options]\n\
                         SystemdCgroup = true\n"),
        ("b.toml", "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = \"/b\"\n\
                    [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\nSystemdCgroup = false\n"),
    ]),
    ("version 4", &[("config.toml", "version = 4\n\
                                     [plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.runc.options]\n\
                                     SystemdCgroup = true\n")]),
    ("an unknown version", &[("config.toml", "\n\nversion = 9\n")]),
    ("a text as the version", &[("config.toml", "version = \"2\"\n")]),
    ("a text for a list", &[("config.toml", "version = 2\ndisabled_plugins = \"cri\"\n")]),
    ("a broken import", &[
        ("config.toml", "version = 2\nimports = [\"b.toml\"]\n"), ("b.toml", "version = 2\n\n[plugins\n"),
    ]),
    ("a key twice", &[("config.toml", "version = 2\nroot = \"/a\"\nroot = \"/b\"\n")]),
    ("a folder that fits a pattern", &[
        ("config.toml", "version = 2\nimports = [\"DIR/conf.d/*\"]\n"), ("conf.d/sub/a.toml", ""),
    ]),
    ("networks", &[("config.toml", "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\n\
                                    bin_dir = \"/usr/lib/cni\"\nconf_dir = \"/n\"\nmax_conf_num = 0\n")]),
    ("the old table of the default runtime", &[("config.toml", "version = 2\n\
         [plugins.\"io.containerd.grpc.v1.cri\".containerd.default_runtime]\n\
         runtime_type = \"io.containerd.runc.v1\"\n\
         [plugins.\"io.containerd.grpc.v1.cri\".containerd.default_runtime.options]\n\
         SystemdCgroup = true\n")]),
    ("the default of a table that is overridden with nothing", &[("config.toml", "version = 2\n\
         [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes]\n")]),
];

/// The containerds to compare with, and their releases.
fn containerds() -> Vec<(PathBuf, Release)> {
    let named = std::env::var_os("SEAWORTHY_CONTAINERD").map(PathBuf::from);
    let places = [Some(PathBuf::from("/usr/bin/containerd")), named];
    let found: Vec<_> = places
        .into_iter()
        .flatten()
        .filter_map(|path| {
            let said = Command::new(&path).arg("--version").output().ok()?;
            Some((path, Release::said(&String::from_utf8_lossy(&said.stdout))?))
        })
        .collect();
    let majors = [false, true].map(|two| found.iter().any(|(_, release)| release.is_2() == two));
    if std::env::var_os("SEAWORTHY_REQUIRE").is_some() {
        assert_eq!(majors, [true, true], "containerd 1 and 2 are needed: SEAWORTHY_CONTAINERD names the second");
    } else if majors != [true, true] {
        eprintln!("compares with {found:?} alone: SEAWORTHY_CONTAINERD names a containerd 2");
    }
    found
}

fn lay(folder: &Path, files: &[(&str, &str)]) -> String {
    for (name, content) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let content = content.replace("DIR", folder.to_str().unwrap()).replace("INCLUDE_RUNC", RUNC_2);
        std::fs::write(path, content).unwrap();
    }
    folder.join(files[0].0).to_str().unwrap().to_owned()
}

fn ours(config: &str, release: Release) -> Containerd {
    let origin = Origin::Flag { flag: "--config".to_owned(), at: None };
    let socket = "/run/containerd/containerd.sock".to_owned();
    let launch = Launch { config: config.to_owned(), is_named: true, origin, socket, root: None };
    let host = LiveHost::open(Path::new("/")).unwrap();
    match Containerd::read(&host, &launch, release) {
        Fact::Known(it) => it,
        other => panic!("{other:?}"),
    }
}

/// What `config dump` prints, or its error.
fn dump(containerd: &Path, config: &str) -> Result<Value, String> {
    let mut command = Command::new(containerd);
    command.args(["--config", config, "config", "dump"]).current_dir("/").stdin(Stdio::null());
    let output = command.output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let table: toml::Table = String::from_utf8(output.stdout).unwrap().parse().unwrap();
    Ok(serde_json::to_value(table).unwrap())
}

/// Where ours differs from theirs.
fn differences(it: &Containerd, theirs: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, ours: &Value, theirs: &Value| {
        if ours != theirs {
            found.push(format!("{what}: {ours}, and containerd has {theirs}"));
        }
    };
    let at =
        |path: &[&str]| path.iter().try_fold(theirs, |value, name| value.get(name)).cloned().unwrap_or(Value::Null);
    for name in ["root", "state", "disabled_plugins"] {
        let set = it.settings.get(&[name]).map_or(Value::Array(Vec::new()), |set| set.value.clone());
        compare(name, &set, &at(&[name]));
    }
    let plugin = it.runtime_plugin();
    if it.cri_disabled().is_some() {
        // The dump has no plug-in that is disabled.
        return found;
    }
    for (rest, set) in it.settings.below(&plugin) {
        // What plug-ins do not know they ignore.
        if set.value.is_object() || it.release.is_2() && rest.get(1).is_some_and(|name| name == "default_runtime") {
            continue;
        }
        let path: Vec<&str> = plugin.iter().copied().chain(rest.iter().map(String::as_str)).collect();
        compare(&path.join("/"), set.value, &at(&path));
    }
    // What judges ask, computed from theirs alone.
    let theirs = |path: &[&str]| at(&[&plugin[..], path].concat());
    let old = theirs(&["containerd", "default_runtime", "runtime_type"]);
    let runtime = match old.as_str() {
        Some(kind) if !kind.is_empty() => vec!["containerd", "default_runtime"],
        _ => vec!["containerd", "runtimes", it.default_runtime().unwrap().0],
    };
    let name = theirs(&["containerd", "default_runtime_name"]);
    if runtime.len() == 3 {
        compare("default runtime", &it.default_runtime().unwrap().0.into(), &name);
    }
    let member = |last: &[&str]| theirs(&[&runtime[..], last].concat());
    let runc = member(&["runtime_type"]).as_str().unwrap_or_default().starts_with("io.containerd.runc.");
    let systemd = runc && member(&["options", "SystemdCgroup"]) == Value::Bool(true);
    compare("SystemdCgroup", &it.systemd_cgroup().is_some_and(|(systemd, _)| systemd).into(), &systemd.into());
    let cni = it.cni();
    compare("conf_dir", &cni.configurations.as_str().into(), &theirs(&["cni", "conf_dir"]));
    compare("max_conf_num", &cni.most.into(), &theirs(&["cni", "max_conf_num"]));
    let folders = match theirs(&["cni", "bin_dirs"]) {
        Value::Null => Value::Array(vec![theirs(&["cni", "bin_dir"])]),
        list => list,
    };
    compare("folders of plug-ins", &cni.plugins.clone().into(), &folders);
    found
}

#[test]
fn the_effective_configuration_is_that_of_config_dump() {
    let mut faults = Vec::new();
    for (containerd, release) in containerds() {
        for (name, files) in CASES {
            let folder = tempfile::tempdir().unwrap();
            let config = lay(folder.path(), files);
            let it = ours(&config, release);
            let mut fault = |why: String| faults.push(format!("containerd {release}, {name}: {why}"));
            match (dump(&containerd, &config), &it.broken) {
                (Ok(theirs), None) => differences(&it, &theirs).into_iter().for_each(&mut fault),
                (Err(_), Some(_)) => {}
                (Ok(_), Some(broken)) => fault(format!("it starts, and ours says: {broken}")),
                (Err(why), None) => fault(format!("it does not start: {why}")),
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn what_ends_containerd_is_named_with_its_line() {
    let old = Release::new(1, 7, 29);
    let new = Release::new(2, 4, 2);
    for (name, release, file, line) in [
        ("a short name disabled in version 2", old, "config.toml", Some(3)),
        ("a short name disabled in an import", new, "b.toml", Some(2)),
        ("a broken import", old, "b.toml", Some(3)),
        ("a broken import", new, "b.toml", Some(3)),
        ("an unknown version", new, "config.toml", Some(3)),
        ("version 3", old, "config.toml", Some(1)),
        ("a text for a list", new, "config.toml", Some(2)),
        ("a text as the version", new, "config.toml", Some(1)),
        ("a bad pattern", new, "config.toml", Some(2)),
        ("a short name of a plug-in in version 2", old, "config.toml", Some(3)),
        ("a folder that fits a pattern", old, "sub", None),
    ] {
        let (_, files) = CASES.iter().find(|(case, _)| *case == name).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let it = ours(&lay(folder.path(), files), release);
        let broken = it.broken.unwrap_or_else(|| panic!("{name}: it starts"));
        assert!(broken.at.path.ends_with(file), "{name}: {broken}");
        assert_eq!(broken.at.line, line, "{name}: {broken}");
    }
}

/// `config dump` forgives a file that is missing; the daemon does not.
#[test]
fn an_import_that_is_missing_ends_containerd() {
    let files = [("config.toml", "version = 2\n\nimports = [\"none.toml\"]\n")];
    for (containerd, release) in containerds() {
        let folder = tempfile::tempdir().unwrap();
        let config = lay(folder.path(), &files);
        let it = ours(&config, release);
        let broken = it.broken.unwrap().to_string();
        assert!(broken.contains("none.toml is missing") && broken.contains("config.toml:3 names it"), "{broken}");
        let inside = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        // Should it start after all, it is ended.
        let output = Command::new("timeout")
            .arg("20")
            .arg(containerd)
            .args(["--config", &config, "--root", &inside("root"), "--state", &inside("state")])
            .args(["--address", &inside("sock")])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("none.toml"), "{said}");
        assert!(!folder.path().join("root").exists(), "it ended before it did anything");
    }
}

/// Releases whose programs are not at hand: their rules, read in their sources.
#[test]
fn releases_between_differ_in_when_they_migrate() {
    let of = |name: &str, release: Release| {
        let (_, files) = CASES.iter().find(|(case, _)| *case == name).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let it = ours(&lay(folder.path(), files), release);
        it.systemd_cgroup().map(|(systemd, _)| systemd)
    };
    // 2.0 to 2.2 migrate the whole by the version of the last file: what a newer import makes of it is lost.
    let mixed = "version 2 that imports version 3";
    assert_eq!(of(mixed, Release::new(2, 2, 0)), Some(false));
    assert_eq!(of(mixed, Release::new(2, 3, 5)), Some(true));
    // A file of version 1 counts as migrated, and its CRI plug-in is not.
    let first = "version 1, a short name";
    assert_eq!(of(first, Release::new(2, 0, 5)), Some(false));
    assert_eq!(of(first, Release::new(1, 7, 29)), Some(true));
    // A relative pattern began at the working directory.
    let pattern = "a relative pattern";
    assert_eq!(of(pattern, Release::new(1, 7, 15)), Some(false));
    assert_eq!(of(pattern, Release::new(1, 7, 16)), Some(true));
}

/// The reference node with a containerd of a release and these files.
fn judge(release: Release, files: &[(&str, &str)]) -> Vec<(String, Breach)> {
    let mut transcript = Transcript::default();
    lay_node(&Path::new(env!("CARGO_MANIFEST_DIR")).join("nodes/reference"), &mut transcript).unwrap();
    let socket = "/run/containerd/containerd.sock".to_owned();
    let version =
        json!({"runtimeName": "containerd", "runtimeVersion": format!("{release}.99"), "runtimeApiVersion": "v1"});
    let mut edits = vec![value(Query::Cri { socket, call: CriCall::Version }, version)];
    edits.extend(files.iter().map(|(path, content)| file(path, *content)));
    apply(&mut transcript, &edits).unwrap();
    let facts = Facts::read(&transcript);
    let profile = Profile::new(jiff::Timestamp::UNIX_EPOCH);
    let mut found = Vec::new();
    for check in checks().into_iter().filter(|check| check.id.starts_with("node.runtime.")) {
        if let Verdict::Breached(breaches) = check.judge(&View::alone(&facts, &profile)).verdict {
            found.extend(breaches.into_iter().map(|breach| (check.id.clone(), breach)));
        }
    }
    found
}

/// The remedy for a disabled CRI is run with each containerd: the file that it leaves is no other finding.
#[test]
fn the_remedy_for_a_disabled_cri_causes_no_other_finding() {
    let path = "/etc/containerd/config.toml";
    let more = "version = 2\n\
                disabled_plugins = [\n  \"io.containerd.snapshotter.v1.zfs\",\n  \"io.containerd.grpc.v1.cri\",\n]\n\
                INCLUDE_RUNC";
    for (containerd, release) in containerds() {
        for content in ["disabled_plugins = [\"cri\"]\n", &more.replace("INCLUDE_RUNC", RUNC_2)] {
            let before = judge(release, &[(path, content)]);
            let (_, breach) = before.iter().find(|(id, _)| id == "node.runtime.cri-plugin").unwrap();
            let folder = tempfile::tempdir().unwrap();
            let inside = folder.path().join("config.toml");
            std::fs::write(&inside, content).unwrap();
            std::fs::create_dir(folder.path().join("bin")).unwrap();
            std::os::unix::fs::symlink(&containerd, folder.path().join("bin/containerd")).unwrap();
            let command = breach.remedy[0].commands[0].replace("/etc/containerd", folder.path().to_str().unwrap());
            let search = format!("{}:/usr/bin:/bin", folder.path().join("bin").display());
            let ran = Command::new("sh").args(["-c", &command]).env("PATH", search).status().unwrap();
            assert!(ran.success(), "{command}");
            let left = std::fs::read_to_string(&inside).unwrap();
            // Releases that are end of life stay so.
            let after: Vec<_> = judge(release, &[(path, &left)])
                .into_iter()
                .filter(|(id, _)| id != "node.runtime.containerd-version")
                .collect();
            assert!(after.is_empty(), "containerd {release}: {after:?}");
            let it = ours(inside.to_str().unwrap(), release);
            assert_eq!(it.systemd_cgroup().map(|(systemd, _)| systemd), Some(true), "containerd {release}");
            assert_eq!(it.cri_disabled(), None);
        }
    }
}
