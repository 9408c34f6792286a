//! The images of a cluster, under the names that kubeadm has for them.
//!
//! Each holds the program of that name and nothing else; the sandbox and the workloads are this very program.

use std::path::{Path, PathBuf};

use super::{BadReference, Image, ImageFile, Reference};
use crate::assets::{Programs, Release};

/// Where kubeadm has its images from.
pub const REPOSITORY: &str = "registry.k8s.io";

/// Kubernetes' minor version, and the tags of `pause` and `etcd` that kubeadm of that version names
/// (`cmd/kubeadm/app/constants`; of v1.29.6, and of the newest patch of the others). The program in the image is the
/// release's, whatever the tag says.
const TAGS: [(u32, &str, &str); 15] = [
    (23, "3.6", "3.5.6-0"),
    (24, "3.7", "3.5.6-0"),
    (25, "3.8", "3.5.9-0"),
    (26, "3.9", "3.5.10-0"),
    (27, "3.9", "3.5.12-0"),
    (28, "3.9", "3.5.15-0"),
    (29, "3.9", "3.5.12-0"),
    (30, "3.9", "3.5.15-0"),
    (31, "3.10", "3.5.24-0"),
    (32, "3.10", "3.5.24-0"),
    (33, "3.10", "3.5.24-0"),
    (34, "3.10.1", "3.6.5-0"),
    (35, "3.10.1", "3.6.6-0"),
    (36, "3.10.2", "3.6.8-0"),
    (37, "3.10.2", "3.7.0-0"),
];

/// An image of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// What holds a pod's namespaces.
    Pause,
    /// CoreDNS.
    CoreDns,
    /// etcd.
    Etcd,
    /// The API server.
    ApiServer,
    /// The controller-manager.
    ControllerManager,
    /// The scheduler.
    Scheduler,
    /// kube-proxy. Its image holds neither nft nor iptables: only the name is of use.
    Proxy,
}

impl Part {
    /// The parts of a control plane.
    pub const CONTROL_PLANE: [Self; 4] = [Self::Etcd, Self::ApiServer, Self::ControllerManager, Self::Scheduler];

    /// The name as kubeadm has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::CoreDns => "coredns",
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Proxy => "kube-proxy",
        }
    }

    /// The name of its image, as kubeadm of this release asks for it from `repository` ([`REPOSITORY`], or
    /// `imageRepository`).
    ///
    /// # Errors
    /// [`BadReference`] if the repository makes no name.
    pub fn reference(self, release: &Release, repository: &str) -> Result<Reference, BadReference> {
        // A release beyond those of the table has the tags of the one before it.
        let minor = release.kubernetes.minor();
        let tags = TAGS.iter().rev().find(|(from, ..)| *from <= minor).unwrap_or(&TAGS[0]);
        let name = self.name();
        let (path, tag) = match self {
            Self::Pause => (name, tags.1.to_owned()),
            Self::Etcd => (name, tags.2.to_owned()),
            // kubeadm's `images.GetDNSImage`: one level deeper, but only there.
            Self::CoreDns if repository == REPOSITORY => ("coredns/coredns", release.coredns.to_string()),
            Self::CoreDns => (name, release.coredns.to_string()),
            // A tag has no plus.
            _ => (name, release.kubernetes.to_string().replace('+', "_")),
        };
        format!("{repository}/{path}:{tag}").parse()
    }

    /// Its image. `programs` has the program, `seaworthy` is this very program, of which the sandbox is made; `None`
    /// where the program was not asked for.
    #[must_use]
    pub fn image(self, reference: Reference, programs: &Programs, seaworthy: &Path) -> Option<Image> {
        if self == Self::Pause {
            // Whole, as that of Kubernetes: `kubeadm upgrade` runs it with an argument.
            let mut image = ourselves(reference, seaworthy);
            image.entrypoint.push("pause".to_owned());
            return Some(image);
        }
        let folder = Path::new(if self == Self::CoreDns { "/" } else { "/usr/local/bin" });
        let others: &[&str] = if self == Self::Etcd { &["etcdctl", "etcdutl"] } else { &[] };
        let mut files = vec![executable(folder.join(self.name()), programs.path(self.name())?)];
        files.extend(others.iter().filter_map(|name| Some(executable(folder.join(name), programs.path(name)?))));
        // kubeadm's static pods name the program; what only has arguments, as CoreDNS, leaves it to the image.
        let entrypoint = vec![files[0].at.display().to_string()];
        Some(Image { files, entrypoint, ..empty(reference) })
    }
}

/// The image of workloads: this very program, which serves HTTP on port 8080 unless the container says something else.
#[must_use]
pub fn workload(seaworthy: &Path) -> Image {
    let [registry, repository] = ["registry.seaworthy.dev", "workload"].map(str::to_owned);
    let reference = Reference { registry, repository, tag: env!("CARGO_PKG_VERSION").to_owned() };
    Image { command: vec!["serve".to_owned()], ports: vec!["8080/tcp".to_owned()], ..ourselves(reference, seaworthy) }
}

fn ourselves(reference: Reference, seaworthy: &Path) -> Image {
    let files = vec![executable(PathBuf::from("/seaworthy"), seaworthy)];
    Image { files, entrypoint: ["/seaworthy", "workload"].map(str::to_owned).to_vec(), ..empty(reference) }
}

fn executable(at: PathBuf, source: &Path) -> ImageFile {
    ImageFile { at, source: source.to_owned(), mode: 0o755 }
}

fn empty(reference: Reference) -> Image {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned();
    Image {
        reference,
        files: Vec::new(),
        entrypoint: Vec::new(),
        command: Vec::new(),
        env: vec![("PATH".to_owned(), path)],
        user: None,
        ports: Vec::new(),
    }
}
