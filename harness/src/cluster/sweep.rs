//! `seaworthy cluster sweep`: deletes what killed runs left on a cluster.

use anstream::eprintln;
use seaworthy_suites::cluster::{Target, sweep as sweep_target};

use super::options::SweepOptions;
use crate::fault::Fault;

pub(super) fn sweep(options: &SweepOptions) -> Result<i32, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fault::ours(error.to_string()))?;
    runtime.block_on(async {
        let target = Target::connect(&options.kubeconfig, options.context.as_deref()).await;
        let target = target.map_err(|error| Fault::usage(error.to_string()))?;
        let swept = sweep_target(&target, options.run.as_deref()).await.map_err(Fault::ours)?;
        let mut failed = 0;
        for one in &swept {
            match &one.failed {
                None => eprintln!("deleted {} of the run {}", one.place, one.run),
                Some(why) => {
                    failed += 1;
                    eprintln!("{} of the run {} is left: {why}", one.place, one.run);
                }
            }
        }
        eprintln!("{} of {} objects deleted", swept.len() - failed, swept.len());
        Ok(if failed > 0 { 3 } else { 0 })
    })
}
