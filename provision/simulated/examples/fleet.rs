use seaworthy_simulated::{Behavior, Client, Fleet, Keep, NodeGroup};
use std::time::{Duration, Instant};
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let a: Vec<String> = std::env::args().collect();
    let client = Client::open(a[1].as_ref(), None)?;
    let begun = Instant::now();
    let fleet = Fleet::new(client)
        .nodes(NodeGroup::linux(a[2].parse()?).zones(["a", "b", "c"]))
        .behavior(Behavior::default())
        .start()
        .await?;
    let n = a[2].parse::<u64>()?;
    println!("started {:?}", begun.elapsed());
    let r = fleet.until("ready", Duration::from_secs(120), |c| c.nodes.ready == n).await;
    println!("ready {:?} {:?}", begun.elapsed(), r.map(|c| c.to_string()));
    let r =
        fleet.until("sched", Duration::from_secs(120), |c| c.nodes.schedulable == n && c.nodes.with_network == n).await;
    println!("schedulable {:?} {:?}", begun.elapsed(), r.map(|c| c.to_string()));
    let until = Instant::now() + Duration::from_secs(a[3].parse()?);
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_secs(2)).await;
        println!("{:?} {}", begun.elapsed(), serde_json::to_string(&fleet.counts())?);
    }
    let r = fleet.shutdown(Keep::Nothing).await?;
    println!("down {:?} {r}", begun.elapsed());
    Ok(())
}
