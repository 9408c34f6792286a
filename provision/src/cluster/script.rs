//! What `up` would do, as a script that does it: `--dry-run`.

use super::engine::{Engine, EngineError, PROGRAMS};
use super::phases::{self, PHASES};
use super::plan::{PlannedHost, Role};

impl Engine<'_> {
    /// A shell script that brings the cluster up phase by phase. Comments say which hosts there will be, and what runs
    /// on them with which flags. It holds no secret: those are made when it runs.
    ///
    /// # Errors
    /// [`EngineError`] if the specification cannot be met.
    pub fn script(&self, skipped: &[String]) -> Result<String, EngineError> {
        let plan = self.plan();
        let chosen = self.chosen(skipped)?;
        // What `up` refuses before it changes anything.
        phases::refusals(self)?;
        let name = &plan.spec.name;
        let mut spec = crate::node::yaml(&serde_json::to_value(&plan.spec).unwrap_or_default());
        let configuration = plan.spec.configuration()?;
        let secrets = configuration.secrets();
        let rest: Vec<_> = PHASES.iter().map(|phase| phase.name).filter(|name| *name != PHASES[0].name).collect();
        let mut text = format!("#!/bin/sh\n# Brings up the cluster {name}, as `seaworthy cluster up` does.\nset -eu\n");
        if !secrets.is_empty() {
            text += "# Tokens and keys of kubeadm's documents are not shown: put them back in place of NOT-SHOWN.\n";
            spec = secrets.iter().fold(spec, |text, secret| text.replace(*secret, "NOT-SHOWN"));
        }
        for host in &plan.hosts {
            text += &self.describe(host)?;
        }
        text += &format!("cat > {name}.yaml <<'END'\n{}\nEND\n", spec.trim_end());
        for (at, phase) in chosen.iter().enumerate() {
            text += &format!("\n# {}: {}\n", phase.name, phase.about);
            text += &match at {
                // It also makes the cluster's folder.
                0 => format!("seaworthy cluster up {name}.yaml --skip-phases {}\n", rest.join(",")),
                _ => format!("seaworthy cluster phase {} {name}\n", phase.name),
            };
        }
        Ok(text)
    }

    /// A host, with the command lines of its control plane and etcd.
    fn describe(&self, host: &PlannedHost) -> Result<String, EngineError> {
        let addresses: Vec<_> = host.addresses.iter().map(ToString::to_string).collect();
        let mut text = format!("#\n# host {} {}\n", host.name, addresses.join(" "));
        let components = match host.role {
            Role::ControlPlane => self.control_plane(host)?.1.components_of(&host.release),
            Role::Etcd => self.etcd_member(host)?.components_of(&host.release),
            _ => Vec::new(),
        };
        let of_etcd = |name: &str| host.role != Role::Etcd || name == "etcd";
        for component in components.iter().filter(|component| of_etcd(component.name)) {
            let words: Vec<_> = component.arguments().collect();
            text += &format!("#   {PROGRAMS}/{} {}\n", component.name, words.join(" "));
        }
        Ok(text)
    }
}
