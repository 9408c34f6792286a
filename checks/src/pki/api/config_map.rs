//! A claim about ConfigMaps: they hold configuration, and nothing that must be kept.

use super::{claim, need, tell};
use crate::check::Remedy;
use crate::conclusion::Breach;
use crate::pki::tally::Tally;
use crate::pki::{Check, View};

fn keys(view: &View<'_>, tally: &mut Tally) {
    let Some(all) = need(&view.facts.api.config_maps, tally) else { return };
    let breaches = all.exposed.iter().map(|one| {
        let subject = format!("ConfigMap {}/{}", one.namespace, one.name);
        let message = format!(
            "{subject} holds {} in {}, line {}: whoever may read the namespace's configuration has it",
            one.what, one.entry, one.line
        );
        Breach::new(&subject, message).found(one.what.to_string()).wanted("a Secret")
    });
    tell("ConfigMaps", all.count, breaches, tally);
}

/// The claim about ConfigMaps.
pub(super) fn checks() -> Vec<Check> {
    vec![
        claim("pki.api.config-map-keys", "no ConfigMap holds a private key or a token", "ConfigMaps", keys)
            .alias("PKI-W05")
            .alias("client-key-data")
            .page(
                "ConfigMaps are read by whoever looks at a namespace, the role view among them, are not encrypted in \
                 etcd, and go into backups and logs. A key that was there is known.",
                "Goes through data and binaryData of all ConfigMaps for private keys in PEM, plain or in base64, for \
                 client keys and for tokens in kubeconfigs. What is between BEGIN and END must be a key. Of what is \
                 found only its place is kept.",
            )
            .basis("ConfigMaps: caution", "https://kubernetes.io/docs/concepts/configuration/configmap/")
            .remedy(
                Remedy::new(
                    "Move it into a Secret, and replace it: revoke the token, issue the certificate again with another \
                     key.",
                )
                .command("kubectl create secret generic NAME --from-file=FILE"),
            ),
    ]
}
