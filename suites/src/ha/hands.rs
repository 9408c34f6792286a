//! Who breaks parts of the cluster and mends them: the faults of our engine, or a hook of the user.

use crate::cluster::{Hook, HookError, Ours, Stop};

use super::drill::undetermined;

/// Breaks and mends.
#[derive(Debug, Clone)]
pub(super) enum Hands {
    /// `seaworthy cluster fault` on a cluster of ours.
    Ours(Ours),
    /// `--fault-hook` on any other one.
    Hook(Hook),
    /// Somebody else.
    Others,
}

impl Hands {
    /// The cluster of ours, whose hosts can be entered.
    pub(super) fn ours(&self) -> Option<&Ours> {
        match self {
            Self::Ours(ours) => Some(ours),
            Self::Hook(_) | Self::Others => None,
        }
    }

    /// What the load balancer is called in the words of a fault.
    pub(super) fn balancer(&self) -> &'static str {
        match self {
            Self::Ours(_) => "harbor/load-balancer",
            Self::Hook(_) | Self::Others => "load-balancer",
        }
    }

    /// Begins a fault; what [`Self::end`] knows it by.
    ///
    /// # Errors
    /// [`Stop`] if it could not be begun.
    pub(super) async fn begin(&self, words: &str) -> Result<String, Stop> {
        let ours = match self {
            Self::Ours(ours) => ours,
            Self::Hook(hook) => {
                return match hook.begin(words).await {
                    Ok(()) => Ok(words.to_owned()),
                    Err(why @ HookError::Unknown(_)) => Err(Stop::NotApplicable(why.to_string())),
                    Err(why) => Err(undetermined("fault", why)),
                };
            }
            Self::Others => return Err(Stop::NotApplicable("there is no hook that begins faults".to_owned())),
        };
        let split: Vec<_> = words.split(' ').collect();
        let output = ours.fault(&split).await.map_err(|error| undetermined("fault", error))?;
        if !output.status.success() {
            return Err(undetermined(words, said(&output.stderr)));
        }
        Ok(said(&output.stdout).split_whitespace().next().unwrap_or_default().to_owned())
    }

    /// Ends the faults of a drill, and no others: a defect of the cluster stays.
    ///
    /// # Errors
    /// What could not be ended, and why.
    pub(super) async fn end(&self, begun: &[String]) -> Result<(), String> {
        let ours = match self {
            Self::Ours(ours) => ours,
            Self::Hook(hook) => return hook.end().await,
            Self::Others => return Ok(()),
        };
        let list = ours.fault(&["list"]).await.map_err(|error| error.to_string())?;
        let listed = said(&list.stdout);
        let listed: Vec<_> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
        let on: Vec<_> = begun.iter().map(String::as_str).filter(|id| listed.contains(id)).collect();
        if on.is_empty() {
            return Ok(());
        }
        let output = ours.fault(&[&["undo"], &on[..]].concat()).await.map_err(|error| error.to_string())?;
        if output.status.success() { Ok(()) } else { Err(said(&output.stderr)) }
    }
}

fn said(output: &[u8]) -> String {
    String::from_utf8_lossy(output).trim().to_owned()
}
