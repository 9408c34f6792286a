//! What is asked of a cluster's API: an allow-list of reads, and of each object only the fields that a judge needs.
//!
//! A call is a path and a table of columns. What is not in the table is dropped as soon as it arrives, so a recording
//! holds no more than what is judged, and Secrets are reduced to their public halves in [`super::secrets`] before
//! anything sees them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A read of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApiCall {
    /// The server's version.
    Version,
    /// Names of namespaces.
    Namespaces,
    /// The ConfigMap `kube-root-ca.crt` of every namespace.
    RootCas,
    /// ConfigMaps: how many there are, and where private keys and tokens lie in them.
    ConfigMaps,
    /// The ConfigMap `kube-public/cluster-info`: the kubeconfig, and which tokens have signed it.
    ClusterInfo,
    /// Bootstrap tokens without their secrets: expiry, groups, and whether they have signed `cluster-info`.
    Tokens,
    /// The Secret `kube-system/kubeadm-certs`, without its content: age, owner, names.
    SharedCerts,
    /// The ConfigMap `kube-system/extension-apiserver-authentication`.
    Authentication,
    /// The ConfigMap `kube-system/kubeadm-config`.
    KubeadmConfig,
    /// Validating webhooks: where they are and by which CA they are verified.
    ValidatingWebhooks,
    /// Mutating webhooks.
    MutatingWebhooks,
    /// API services that other servers answer.
    ApiServices,
    /// Conversion webhooks of custom resources.
    Conversions,
    /// Addresses and ports of Services.
    Services,
    /// Secrets of type `kubernetes.io/tls`, without their keys.
    TlsSecrets,
    /// Which Secrets pods, templates of pods and Gateways name. Of several lists, `path` is the first.
    SecretUses,
    /// Which hosts Ingresses serve by which Secret.
    Ingresses,
    /// Certificate signing requests.
    SigningRequests,
    /// Who is given which ClusterRole.
    ClusterRoleBindings,
    /// What ClusterRoles allow.
    ClusterRoles,
    /// The public keys that service-account tokens are verified by.
    Jwks,
    /// Names and addresses of nodes.
    Nodes,
    /// Names of the hosts that API servers run on, as each says of itself since Kubernetes 1.26.
    ApiServers,
    /// The addresses that API servers advertise.
    ApiServerAddresses,
    /// Counters of weakened settings of Go, from the server's metrics.
    Metrics,
}

/// A column of a reduced object, and where it stands in the object that the API has.
type Column = (&'static str, &'static str);

const NAMED: [Column; 2] = [("namespace", "/metadata/namespace"), ("name", "/metadata/name")];
const WEBHOOKS: &[Column] = &[("name", "/metadata/name"), ("webhooks", "/webhooks")];

impl ApiCall {
    /// All calls, in the order in which they are made.
    pub const ALL: [Self; 25] = [
        Self::Version,
        Self::Namespaces,
        Self::RootCas,
        Self::ConfigMaps,
        Self::ClusterInfo,
        Self::Tokens,
        Self::SharedCerts,
        Self::Authentication,
        Self::KubeadmConfig,
        Self::ValidatingWebhooks,
        Self::MutatingWebhooks,
        Self::ApiServices,
        Self::Conversions,
        Self::Services,
        Self::TlsSecrets,
        Self::SecretUses,
        Self::Ingresses,
        Self::SigningRequests,
        Self::ClusterRoleBindings,
        Self::ClusterRoles,
        Self::Jwks,
        Self::Nodes,
        Self::ApiServers,
        Self::ApiServerAddresses,
        Self::Metrics,
    ];

    /// The path that is read. Where it is a list, `limit` and `continue` are added to it.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Version => "/version",
            Self::Namespaces => "/api/v1/namespaces",
            Self::RootCas => "/api/v1/configmaps?fieldSelector=metadata.name%3Dkube-root-ca.crt",
            Self::ConfigMaps => "/api/v1/configmaps",
            Self::ClusterInfo => "/api/v1/namespaces/kube-public/configmaps/cluster-info",
            Self::Tokens => {
                "/api/v1/namespaces/kube-system/secrets?fieldSelector=type%3Dbootstrap.kubernetes.io%2Ftoken"
            }
            Self::SharedCerts => "/api/v1/namespaces/kube-system/secrets/kubeadm-certs",
            Self::Authentication => "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication",
            Self::KubeadmConfig => "/api/v1/namespaces/kube-system/configmaps/kubeadm-config",
            Self::ValidatingWebhooks => "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
            Self::MutatingWebhooks => "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
            Self::ApiServices => "/apis/apiregistration.k8s.io/v1/apiservices",
            Self::Conversions => "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            Self::Services => "/api/v1/services",
            Self::TlsSecrets => "/api/v1/secrets?fieldSelector=type%3Dkubernetes.io%2Ftls",
            Self::SecretUses => super::uses::WORKLOADS[0],
            Self::Ingresses => "/apis/networking.k8s.io/v1/ingresses",
            Self::SigningRequests => "/apis/certificates.k8s.io/v1/certificatesigningrequests",
            Self::ClusterRoleBindings => "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            Self::ClusterRoles => "/apis/rbac.authorization.k8s.io/v1/clusterroles",
            Self::Jwks => "/openid/v1/jwks",
            Self::Nodes => "/api/v1/nodes",
            Self::ApiServers => {
                "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases\
                 ?labelSelector=apiserver.kubernetes.io%2Fidentity%3Dkube-apiserver"
            }
            Self::ApiServerAddresses => {
                "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices\
                 ?labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes"
            }
            Self::Metrics => "/metrics",
        }
    }

    /// Is the answer a list, that comes in pages?
    #[must_use]
    pub(super) fn is_list(self) -> bool {
        !matches!(
            self,
            Self::Version
                | Self::ClusterInfo
                | Self::SharedCerts
                | Self::Authentication
                | Self::KubeadmConfig
                | Self::Jwks
                | Self::Metrics
        )
    }

    /// How many objects a page has: 500 Secrets are 3 MB, at what a certificate and its key usually take, and a
    /// ConfigMap may be of 1 MiB.
    #[must_use]
    pub(super) fn page(self) -> u32 {
        if self == Self::ConfigMaps { 100 } else { 500 }
    }

    /// What is kept of an object; empty where it is reduced by hand or kept whole.
    fn columns(self) -> &'static [Column] {
        match self {
            Self::Namespaces => &[("name", "/metadata/name"), ("phase", "/status/phase")],
            Self::RootCas => &[NAMED[0], ("ca", "/data/ca.crt")],
            Self::ClusterInfo => &[("data", "/data")],
            Self::Authentication => &[("data", "/data")],
            Self::KubeadmConfig => &[("configuration", "/data/ClusterConfiguration")],
            Self::ValidatingWebhooks | Self::MutatingWebhooks => WEBHOOKS,
            Self::ApiServices => &[("name", "/metadata/name"), ("spec", "/spec"), ("conditions", "/status/conditions")],
            Self::Conversions => &[("name", "/metadata/name"), ("conversion", "/spec/conversion")],
            Self::Services => {
                &[NAMED[0], NAMED[1], ("addresses", "/spec/clusterIPs"), ("external-name", "/spec/externalName")]
            }
            Self::Ingresses => &[NAMED[0], NAMED[1], ("tls", "/spec/tls")],
            Self::SigningRequests => &[
                ("name", "/metadata/name"),
                ("created", "/metadata/creationTimestamp"),
                ("signer", "/spec/signerName"),
                ("user", "/spec/username"),
                ("groups", "/spec/groups"),
                ("usages", "/spec/usages"),
                ("request", "/spec/request"),
                ("conditions", "/status/conditions"),
                ("certificate", "/status/certificate"),
            ],
            Self::ClusterRoleBindings => &[("role", "/roleRef/name"), ("subjects", "/subjects")],
            Self::ClusterRoles => &[("name", "/metadata/name"), ("rules", "/rules")],
            Self::Nodes => &[("name", "/metadata/name"), ("addresses", "/status/addresses")],
            Self::ApiServers => &[("host", "/metadata/labels/kubernetes.io~1hostname")],
            Self::ApiServerAddresses => &[("endpoints", "/endpoints")],
            Self::Version
            | Self::ConfigMaps
            | Self::Tokens
            | Self::SharedCerts
            | Self::TlsSecrets
            | Self::SecretUses
            | Self::Jwks
            | Self::Metrics => &[],
        }
    }

    /// An object reduced to its columns, and what in them must not be kept taken out.
    #[must_use]
    pub(super) fn reduce(self, object: &Value) -> Value {
        let columns = self.columns();
        if columns.is_empty() {
            return object.clone();
        }
        let pick = |(name, at): &Column| Some(((*name).to_owned(), object.pointer(at)?.clone()));
        let mut row: Map<_, _> = columns.iter().filter_map(pick).collect();
        if self == Self::ClusterInfo
            && let Some(Value::Object(data)) = row.get_mut("data")
        {
            // The signatures themselves are of no use to a judge: whether they are good is said by the tokens.
            data.iter_mut()
                .filter(|(key, _)| key.starts_with(super::jws::KEY_PREFIX))
                .for_each(|(_, value)| *value = Value::Bool(true));
        }
        Value::Object(row)
    }
}

impl fmt::Display for ApiCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path().split('?').next().unwrap_or_default())?;
        match self {
            Self::RootCas => f.write_str(" named kube-root-ca.crt"),
            Self::Tokens => f.write_str(" of type bootstrap.kubernetes.io/token"),
            Self::TlsSecrets => f.write_str(" of type kubernetes.io/tls"),
            Self::SecretUses => f.write_str(", templates and Gateways"),
            Self::ApiServers => f.write_str(" of API servers"),
            Self::ApiServerAddresses => f.write_str(" of the Service kubernetes"),
            _ => Ok(()),
        }
    }
}

/// The counters of Go's weakened settings that are above zero, from the text of a component's metrics.
#[must_use]
pub(super) fn weakened(metrics: &str) -> Value {
    let counters = metrics.lines().filter_map(|line| {
        let (name, count) = line.strip_prefix("go_godebug_non_default_behavior_")?.split_once(' ')?;
        let setting = name.strip_suffix("_events_total")?;
        let count: f64 = count.trim().parse().ok()?;
        (count > 0.0).then(|| (setting.to_owned(), Value::from(count)))
    });
    Value::Object(counters.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_columns_are_kept() {
        let lease = json!({
            "metadata": { "name": "l", "labels": { "kubernetes.io/hostname": "cp1" } },
            "spec": { "holderIdentity": "i" },
        });
        assert_eq!(ApiCall::ApiServers.reduce(&lease), json!({ "host": "cp1" }));
        let info = json!({ "data": { "kubeconfig": "k", "jws-kubeconfig-abcdef": "a..b" } });
        let row = json!({ "data": { "kubeconfig": "k", "jws-kubeconfig-abcdef": true } });
        assert_eq!(ApiCall::ClusterInfo.reduce(&info), row);
    }

    #[test]
    fn counters_above_zero_are_found() {
        let text = "# HELP go_godebug_non_default_behavior_x509sha1_events_total x\n\
                    go_godebug_non_default_behavior_x509sha1_events_total 3\n\
                    go_godebug_non_default_behavior_tlsrsakex_events_total 0\ngo_goroutines 8\n";
        assert_eq!(weakened(text), json!({ "x509sha1": 3.0 }));
    }
}
