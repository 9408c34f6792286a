//! The migrations of containerd: names of version 1, the CRI plug-in of version 2, the servers of version 3.

use serde_json::{Value, json};

use super::{CRI_1, IMAGES_2, RUNTIME_2, Release};
use crate::effective::{Origin, Settings};

/// Whole names of the plug-ins that version 1 calls by short ones (`v1MigratePluginName`).
const NAMES: [(&str, &str); 16] = [
    ("cri", CRI_1),
    ("cgroups", "io.containerd.monitor.v1.cgroups"),
    ("linux", "io.containerd.runtime.v1.linux"),
    ("scheduler", "io.containerd.gc.v1.scheduler"),
    ("bolt", "io.containerd.metadata.v1.bolt"),
    ("task", "io.containerd.runtime.v2.task"),
    ("opt", "io.containerd.internal.v1.opt"),
    ("restart", "io.containerd.internal.v1.restart"),
    ("tracing", "io.containerd.internal.v1.tracing"),
    ("otlp", "io.containerd.tracing.processor.v1.otlp"),
    ("aufs", "io.containerd.snapshotter.v1.aufs"),
    ("btrfs", "io.containerd.snapshotter.v1.btrfs"),
    ("devmapper", "io.containerd.snapshotter.v1.devmapper"),
    ("native", "io.containerd.snapshotter.v1.native"),
    ("overlayfs", "io.containerd.snapshotter.v1.overlayfs"),
    ("zfs", "io.containerd.snapshotter.v1.zfs"),
];

/// The whole name of a plug-in; names with a dot are whole already.
fn whole(name: &str) -> String {
    if name.contains('.') {
        return name.to_owned();
    }
    match NAMES.iter().find(|(short, _)| *short == name) {
        Some((_, whole)) => (*whole).to_owned(),
        None if name.ends_with("-service") => format!("io.containerd.service.v1.{name}"),
        None if name.starts_with("windows") => format!("io.containerd.snapshotter.v1.{name}"),
        None => format!("io.containerd.grpc.v1.{name}"),
    }
}

type Leaf = (Vec<String>, Value, Origin);

/// Takes all leaves at and below a path out of the settings.
fn take(settings: &mut Settings, path: &[&str]) -> Vec<Leaf> {
    let below = |(rest, setting): (&[String], crate::effective::Setting<'_>)| {
        (rest.to_vec(), setting.value.clone(), setting.origin.clone())
    };
    let leaves = settings.below(path).map(below).collect();
    settings.remove(path);
    leaves
}

fn put(settings: &mut Settings, path: &[&str], rest: &[String], value: Value, origin: Origin) {
    let path: Vec<&str> = path.iter().copied().chain(rest.iter().map(String::as_str)).collect();
    settings.set(&path, value, origin);
}

/// Version 1 to 2: plug-ins have whole names.
pub(super) fn names(settings: &mut Settings, disabled: &mut [(String, Origin)]) {
    for (path, value, origin) in take(settings, &["plugins"]) {
        match path.split_first() {
            Some((name, rest)) => put(settings, &["plugins", &whole(name)], rest, value, origin),
            None => settings.set(&["plugins"], value, origin),
        }
    }
    for list in ["disabled_plugins", "required_plugins"] {
        let Some(set) = settings.get(&[list]) else { continue };
        let (value, origin) = (set.value.clone(), set.origin.clone());
        let names = value.as_array().into_iter().flatten().filter_map(Value::as_str).map(whole).collect::<Vec<_>>();
        settings.set(&[list], json!(names), origin);
    }
    for (name, _) in disabled {
        *name = whole(name);
    }
}

/// A containerd 1 that reads version 1: what has another name than the short one counts for nothing.
pub(super) fn short_names(settings: &mut Settings, disabled: &mut Vec<(String, Origin)>) {
    for (path, value, origin) in take(settings, &["plugins"]) {
        if let Some((name, rest)) = path.split_first()
            && !name.contains('.')
        {
            put(settings, &["plugins", &whole(name)], rest, value, origin);
        }
    }
    disabled.retain(|(name, _)| !name.contains('.'));
    for (name, _) in disabled {
        *name = whole(name);
    }
}

/// What went from the CRI plug-in to the plug-in of images.
const OF_IMAGES: [&str; 6] = [
    "registry",
    "image_decryption",
    "max_concurrent_downloads",
    "image_pull_progress_timeout",
    "image_pull_with_sync_fs",
    "stats_collect_period",
];
/// What went from its table `containerd` there.
const OF_IMAGES_CONTAINERD: [&str; 3] = ["snapshotter", "disable_snapshot_annotations", "discard_unpacked_layers"];
/// What stays in the CRI plug-in.
const OF_SERVER: [&str; 6] = [
    "disable_tcp_service",
    "stream_server_address",
    "stream_server_port",
    "stream_idle_timeout",
    "enable_tls_streaming",
    "x509_key_pair_streaming",
];

/// Version 2 to 3: the CRI plug-in is divided into three.
pub(super) fn cri(settings: &mut Settings, release: Release) {
    let old = take(settings, &["plugins", CRI_1]);
    // A member of the new plug-in wins over the old one's: by table, except in those that are merged member by member.
    let taken: Vec<Vec<String>> = settings.below(&["plugins", RUNTIME_2]).map(|(path, _)| path.to_vec()).collect();
    let is_taken = |path: &[String], depth: usize| {
        path.len() >= depth && taken.iter().any(|leaf| leaf.len() >= depth && leaf[..depth] == path[..depth])
    };
    let runtime = ["plugins", RUNTIME_2];
    let images = ["plugins", IMAGES_2];
    for (path, value, origin) in old {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        match names[..] {
            [] => {}
            ["sandbox_image"] => {
                settings.set(&["plugins", IMAGES_2, "pinned_images", "sandbox"], value, origin);
            }
            ["enable_cdi", ..] if release >= Release::new(2, 4, 0) => {}
            [name, ..] if OF_SERVER.contains(&name) => put(settings, &["plugins", CRI_1], &path, value, origin),
            [name, ..] if OF_IMAGES.contains(&name) => put(settings, &images, &path, value, origin),
            ["containerd", name, ..] if OF_IMAGES_CONTAINERD.contains(&name) => {
                put(settings, &images, &path[1..], value, origin);
            }
            ["cni", "bin_dir"] if release >= Release::new(2, 1, 0) => {
                let list = [&runtime[..], &["cni", "bin_dirs"]].concat();
                settings.set(&list, json!([value]), origin);
            }
            ["containerd", "runtimes", name, "sandbox_mode"] => {
                let mode = [&runtime[..], &["containerd", "runtimes", name, "sandboxer"]].concat();
                settings.set(&mode, value, origin);
            }
            ["cni" | "containerd", _, ..] if is_taken(&path, 2) => {}
            ["cni" | "containerd", ..] => put(settings, &runtime, &path, value, origin),
            _ if is_taken(&path, 1) => {}
            _ => put(settings, &runtime, &path, value, origin),
        }
    }
}

/// Version 3 to 4: the servers are plug-ins.
pub(super) fn servers(settings: &mut Settings) {
    let grpc = ["plugins", "io.containerd.server.v1.grpc"];
    if settings.below(&grpc).next().is_some() {
        return;
    }
    for (old, new) in [
        ("address", "address"),
        ("uid", "uid"),
        ("gid", "gid"),
        ("max_recv_message_size", "max_recv_message_size"),
        ("max_send_message_size", "max_send_message_size"),
    ] {
        let moved = settings.get(&["grpc", old]).map(|setting| (setting.value.clone(), setting.origin.clone()));
        if let Some((value, origin)) = moved {
            settings.remove(&["grpc", old]);
            settings.set(&[grpc[0], grpc[1], new], value, origin);
        }
    }
}
