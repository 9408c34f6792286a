//! A node's root, file by file, and whether it is what a distribution makes.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rcgen::{DnType, PublicKeyData as _, SanType};
use seaworthy_checks::host::{LiveHost, Recorder};
use seaworthy_checks::pki::Facts;
use seaworthy_checks::pki::discover::Role;
use seaworthy_provision::pki::Usage;

use crate::forge::{self, Authority};
use crate::{audit, profile};

/// Builds a node's root.
pub(super) struct Maker(tempfile::TempDir);

impl Maker {
    pub(super) fn new() -> Self {
        let maker = Self(tempfile::tempdir().unwrap());
        maker.file("etc/hostname", "n1\n");
        maker
    }

    pub(super) fn root(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn file(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        let key = text.contains("PRIVATE KEY") || text.contains("clusters:");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(if key { 0o600 } else { 0o644 })).unwrap();
    }

    pub(super) fn own(&self, path: &str, user: u32, mode: u32) {
        let path = self.root().join(path);
        nix::unistd::chown(&path, Some(user.into()), None).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A CA of ten years; without a key where somebody else keeps it.
    pub(super) fn ca(&self, crt: &str, key: Option<&str>, name: &str) -> Authority {
        self.ca_until(crt, key, name, 3600)
    }

    pub(super) fn ca_until(&self, crt: &str, key: Option<&str>, name: &str, days: i64) -> Authority {
        let mut params = forge::leaf(name, None, None);
        params.not_after = forge::days(days);
        let (authority, pem) = Authority::new(&params);
        self.file(crt, &authority.pem);
        if let Some(key) = key {
            self.file(key, &pem);
        }
        authority
    }

    /// A certificate and its key; `who` is `CN` or `CN/O`.
    pub(super) fn leaf(&self, ca: &Authority, files: (&str, &str), who: &str, usage: Usage, sans: &[&str]) -> String {
        self.leaf_for(ca, files, who, usage, sans, 364)
    }

    pub(super) fn leaf_for(
        &self,
        ca: &Authority,
        files: (&str, &str),
        who: &str,
        usage: Usage,
        sans: &[&str],
        days: i64,
    ) -> String {
        let (name, groups) = who.split_once('/').unwrap_or((who, ""));
        let mut params = forge::leaf(name, None, Some(usage));
        params.not_after = forge::days(days);
        for group in groups.split(',').filter(|group| !group.is_empty()) {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.subject_alt_names = sans
            .iter()
            .map(|san| match san.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*san).try_into().unwrap()),
            })
            .collect();
        let key = forge::key();
        let pem = ca.sign(&params, &key);
        self.file(files.0, &pem);
        self.file(files.1, &forge::sec1(&key));
        pem
    }

    pub(super) fn service_accounts(&self, private: &str, public: Option<&str>) {
        let key = forge::key();
        self.file(private, &forge::sec1(&key));
        if let Some(public) = public {
            self.file(public, &forge::pem("PUBLIC KEY", &key.subject_public_key_info()));
        }
    }

    /// A kubeconfig that names files.
    pub(super) fn kubeconfig(&self, path: &str, ca: &str, certificate: &str, key: &str) {
        self.file(
            path,
            &format!(
                "apiVersion: v1\nkind: Config\nclusters:\n\
                 - name: local\n  cluster: {{server: 'https://127.0.0.1:6443', certificate-authority: {ca}}}\nusers:\n\
                 - name: user\n  user: {{client-certificate: {certificate}, client-key: {key}}}\ncontexts:\n\
                 - name: Default\n  context: {{cluster: local, user: user}}\ncurrent-context: Default\n"
            ),
        );
    }

    /// Is it recognized, with these roles, and with nothing found but these?
    pub(super) fn is(&self, layout: &str, roles: &[Role], finds: &[&str]) {
        let host = LiveHost::open(self.root()).unwrap();
        let recorder = Recorder::new(&host, true);
        let facts = Facts::read(&recorder);
        let layouts: Vec<_> = facts.discovery.layouts.iter().map(|layout| layout.name).collect();
        assert!(layouts.contains(&layout), "{layout}: {layouts:?}");
        for role in roles {
            assert!(
                facts.discovery.of_role(*role).next().is_some() || facts.of_role(*role).next().is_some(),
                "{layout}: no {role:?}"
            );
        }
        let audit = audit(&host, None, &profile());
        // rcgen writes SEC 1 under the label of PKCS#8.
        let found: BTreeSet<_> =
            audit.breached.keys().map(String::as_str).filter(|id| *id != "pki.file.label").collect();
        let wanted: BTreeSet<_> = finds.iter().copied().collect();
        assert_eq!(found, wanted, "{layout}: {:#?}", audit.breached);
        assert!(audit.undetermined.is_empty(), "{layout}: {:#?}", audit.undetermined);
    }
}

pub(super) const SERVICE: [&str; 6] = [
    "n1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "127.0.0.1",
];
pub(super) const CONTROL_PLANE: [Role; 5] =
    [Role::ClientCa, Role::ApiserverServing, Role::FrontProxyCa, Role::FrontProxyClient, Role::ServiceAccountKey];
