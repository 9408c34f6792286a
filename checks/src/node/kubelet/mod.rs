//! The kubelet: version, configuration, start-up files, health.

mod checks;
mod config;

use serde_json::Value;

use crate::check::{Check, Judgement};
use crate::conclusion::Conclusion;
use crate::fact::Fact;
use crate::host::{Host, Program, Query};
use crate::node::View;

/// Where kubeadm puts the kubelet's configuration.
pub const CONFIG: &str = "/var/lib/kubelet/config.yaml";
const FLAGS: &str = "/var/lib/kubelet/kubeadm-flags.env";
const DROP_INS: [&str; 3] = [
    "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf",
    "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf",
    "/lib/systemd/system/kubelet.service.d/10-kubeadm.conf",
];

/// What is known of the kubelet.
#[derive(Debug)]
pub struct Facts {
    /// `1.37.2`, as the program says.
    pub version: Fact<String>,
    /// Its configuration.
    pub config: Fact<KubeletConfig>,
    /// Its resolvConf; the default where the configuration does not name one.
    pub resolv_conf: Fact<String>,
    /// kubeadm's flags for it.
    pub flags: Fact<String>,
    /// Where kubeadm's drop-in is.
    pub drop_in: Fact<String>,
    /// `1.37.2`, as kubeadm says of itself.
    pub kubeadm: Fact<String>,
    /// What its health port answers: status and body.
    pub healthz: Fact<(u64, String)>,
    /// Is the file of its resolvConf there?
    pub resolv_conf_file: Fact<()>,
}

/// A kubelet configuration file.
#[derive(Debug, Clone)]
pub struct KubeletConfig {
    path: String,
    text: String,
    value: Value,
}

impl KubeletConfig {
    fn parse(path: &str, text: String) -> Result<Self, String> {
        let value: Value = serde_saphyr::from_str(&text).map_err(|error| {
            // The library quotes the lines around the place, which belong into no message.
            let first = error.to_string();
            format!("{path} is no YAML: {}", first.lines().next().unwrap_or_default())
        })?;
        match value.get("kind").and_then(Value::as_str) {
            Some("KubeletConfiguration") => Ok(Self { path: path.to_owned(), text, value }),
            kind => Err(format!("{path} is of kind {}, not KubeletConfiguration", kind.unwrap_or("none"))),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A member by a dotted path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(&self.value, |value, key| value.get(key)).filter(|value| !value.is_null())
    }

    /// The line that sets the last key of a dotted path, if one line does.
    #[must_use]
    pub fn line(&self, path: &str) -> Option<u32> {
        let key = format!("{}:", path.rsplit('.').next()?);
        let number = self.text.lines().position(|line| line.trim_start().starts_with(&key))?;
        u32::try_from(number + 1).ok()
    }
}

impl Facts {
    pub(super) fn read(host: &dyn Host) -> Self {
        let flags = host.text(FLAGS);
        let path = config_path(host, flags.known().map(String::as_str));
        let config = host.text(&path).parse(|text| KubeletConfig::parse(&path, text));
        let resolv_conf = config
            .clone()
            .map(|config| config.get("resolvConf").and_then(Value::as_str).unwrap_or("/etc/resolv.conf").to_owned());
        let resolv_conf_file = match resolv_conf.known() {
            Some(path) if !path.is_empty() => host.stat(path).map(|_| ()),
            Some(_) => Fact::Known(()),
            None => resolv_conf.clone().map(|_| ()),
        };
        let health = Query::Get { url: "http://127.0.0.1:10248/healthz".to_owned() };
        Self {
            version: host.run(Program::KubeletVersion).parse(|text| {
                let version = text.split_whitespace().find_map(|word| word.strip_prefix('v'));
                version.map(str::to_owned).ok_or_else(|| format!("kubelet --version said '{}'", text.trim()))
            }),
            kubeadm: host.run(Program::KubeadmVersion).map(|text| text.trim().trim_start_matches('v').to_owned()),
            resolv_conf,
            flags,
            drop_in: drop_in(host),
            healthz: host.value(&health).parse(|answer| {
                let status = answer.get("status").and_then(Value::as_u64).ok_or("the answer has no status")?;
                let body = answer.get("body").and_then(Value::as_str).unwrap_or_default().to_owned();
                Ok::<_, &str>((status, body))
            }),
            resolv_conf_file,
            config,
        }
    }
}

/// Where the kubelet's configuration is: where the user says, else where its flags say, else where kubeadm puts it.
fn config_path(host: &dyn Host, flags: Option<&str>) -> String {
    let named = flags.and_then(|flags| flags.split(['"', ' ', '\n']).find_map(|word| word.strip_prefix("--config=")));
    host.layout().kubelet_config.or_else(|| named.map(str::to_owned)).unwrap_or_else(|| CONFIG.to_owned())
}

fn drop_in(host: &dyn Host) -> Fact<String> {
    let mut last = Fact::Absent("no place of it was looked at".to_owned());
    for path in DROP_INS {
        last = host.text(path).map(|_| path.to_owned());
        if !last.is_absent() {
            return last;
        }
    }
    last
}

/// The configuration; not applicable where there is none, since the node has not joined.
fn with_config(view: &View<'_>, judge: impl FnOnce(&KubeletConfig) -> Judgement) -> Judgement {
    match view.facts.kubelet.config.present(CONFIG)? {
        Some(config) => judge(config),
        None => Ok(Conclusion::not_applicable(format!("there is no {CONFIG}: the node has not joined a cluster"))),
    }
}

fn minor(version: &str) -> Option<u32> {
    version.split('.').nth(1)?.parse().ok()
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let mut all = checks::checks();
    all.extend(config::checks());
    all
}
