//! The PKI in files of Talos. Each member that holds one has a place of its own: `controlplane.yaml#cluster.ca`.

use super::{Discovery, From, LAYOUTS, Role, Use};
use crate::fact::Fact;
use crate::host::{Credentials, Host, Query};
use crate::pki::talos::{Kind, Part, Talos};

/// Where a node keeps its configuration: `config.yaml` of the partition STATE.
pub(super) const CONFIGURATION: &str = "/system/state/config.yaml";

const NAME: &str = "Talos";

/// The place of a member of a file.
#[must_use]
pub fn member(file: &str, name: &str) -> String {
    format!("{file}#{name}")
}

/// What a part of a file is for.
fn roles(part: Part, kind: Kind) -> &'static [Role] {
    match part {
        Part::Talos => &[Role::TalosCa],
        Part::Cluster if kind == Kind::Worker => &[Role::KubeletClientCa],
        Part::Cluster => &[Role::ClientCa, Role::RootCa, Role::SigningCa, Role::KubeletClientCa],
        Part::FrontProxy => &[Role::FrontProxyCa],
        Part::Etcd => &[Role::EtcdClientCa, Role::EtcdPeerCa, Role::EtcdServerCa],
        Part::ServiceAccounts => &[Role::ServiceAccountKey, Role::ServiceAccountPublicKeys],
        Part::Client => &[Role::TalosClient],
    }
}

impl Discovery {
    /// Adds what a file of Talos holds, if it is one; says whether it is.
    pub(super) fn talos(&mut self, host: &dyn Host, file: &str) -> bool {
        let said: Fact<Credentials> = host.parsed(&Query::Credentials { path: file.to_owned() });
        if let Fact::Unreadable(why) = &said {
            self.unread.push(why.clone());
        }
        let Some(talos) = said.known().and_then(|said| said.talos.clone()) else { return false };
        let talos: Talos<()> = talos.map(|_| ());
        for pair in &talos.pairs {
            // Of service accounts the private key is enough: Talos derives the public one.
            let bare = pair.part == Part::ServiceAccounts;
            let key = (pair.key.is_some() || talos.needs_key(pair.part)).then_some(pair.key_name.as_str());
            for &role in roles(pair.part, talos.kind) {
                match role {
                    Role::ServiceAccountKey => self.member(file, role, &pair.key_name, None),
                    Role::ServiceAccountPublicKeys if pair.public.is_empty() => {
                        self.member(file, role, &pair.key_name, None);
                    }
                    _ => self.member(file, role, &pair.name, key.filter(|_| !bare)),
                }
            }
        }
        for (part, name, key) in talos.missing() {
            if let Some(&role) = roles(part, talos.kind).first() {
                let name = if role == Role::ServiceAccountKey { &key } else { &name };
                self.member(file, role, name, None);
            }
        }
        if !self.layouts.iter().any(|layout| layout.name == NAME) {
            self.layouts.extend(LAYOUTS.iter().find(|layout| layout.name == NAME));
        }
        self.talos.push((file.to_owned(), talos));
        true
    }

    fn member(&mut self, file: &str, role: Role, name: &str, key: Option<&str>) {
        self.uses.push(Use {
            role,
            holder: role.holder(),
            file: member(file, name),
            key: key.map(|key| member(file, key)),
            from: From::Layout(NAME),
            required: true,
        });
    }
}
