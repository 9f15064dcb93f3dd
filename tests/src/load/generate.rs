//! Ways to send many requests. Closed: so many users, each sends again once it is answered. Open: so many a second,
//! whatever is answered; a request's time counts from when it was due, so that a stalled service does not hide its
//! stall by being asked less (coordinated omission).

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{Job, Sample, Target};

/// Makes the `n`-th job of a user.
pub type Jobs = Arc<dyn Fn(usize, usize) -> Job + Send + Sync>;

/// When a closed loop ends.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// Each user has sent so many.
    Count(usize),
    /// So long after the beginning; what is under way then is waited for.
    Elapsed(Duration),
}

/// All at once.
pub async fn burst(target: &Target, jobs: Vec<Job>) -> Vec<Sample> {
    let mut tasks = JoinSet::new();
    let due = Instant::now();
    for job in jobs {
        let target = target.clone();
        tasks.spawn(async move { target.send(&job, due).await });
    }
    tasks.join_all().await
}

/// `users` at once, each with a pause between an answer and its next request.
pub async fn closed(target: &Target, users: usize, until: Until, pause: Duration, jobs: Jobs) -> Vec<Sample> {
    let mut tasks = JoinSet::new();
    let begun = Instant::now();
    for user in 0..users {
        let (target, jobs) = (target.clone(), Arc::clone(&jobs));
        tasks.spawn(async move {
            let mut samples = Vec::new();
            // Users do not start in the same moment, where they pause at all.
            tokio::time::sleep(pause * u32::try_from(user).unwrap_or(0) / u32::try_from(users).unwrap_or(1)).await;
            loop {
                let over = match until {
                    Until::Count(count) => samples.len() >= count,
                    Until::Elapsed(time) => begun.elapsed() >= time,
                };
                if over {
                    return samples;
                }
                samples.push(target.send(&jobs(user, samples.len()), Instant::now()).await);
                tokio::time::sleep(pause).await;
            }
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

/// `rate` a second at even distances for so long; every answer is waited for.
pub async fn open(target: &Target, rate: f64, time: Duration, jobs: Jobs) -> Vec<Sample> {
    let mut tasks = JoinSet::new();
    let begun = Instant::now();
    for n in 0.. {
        let due = begun + Duration::from_secs_f64(n as f64 / rate);
        if due >= begun + time {
            break;
        }
        tokio::time::sleep_until(due.into()).await;
        let (target, jobs) = (target.clone(), Arc::clone(&jobs));
        tasks.spawn(async move { target.send(&jobs(n, 0), due).await });
    }
    tasks.join_all().await
}
