//! Requests per client address, with the `RateLimit-*` headers; a second line behind admission and quotas.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter as Governor};

use super::Shared;
use super::address::ClientAddress;
use super::error::ApiError;
use crate::config::RateLimit;
use crate::jobs::Refusal;

type Keyed = Governor<IpAddr, DefaultKeyedStateStore<IpAddr>, DefaultClock, StateInformationMiddleware>;

/// After this many checks, addresses that have all their requests back are forgotten.
const SWEEP_EVERY: u32 = 4096;

/// One bucket an address.
pub struct RateLimiter {
    current: RwLock<Current>,
    clock: DefaultClock,
    checks: AtomicU32,
}

struct Current {
    settings: RateLimit,
    buckets: Option<Arc<Keyed>>,
}

/// What is left of an address's bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    limit: u32,
    remaining: u32,
    /// Until the bucket is full again.
    reset: Duration,
}

impl RateLimiter {
    /// With all buckets full.
    pub fn new(settings: RateLimit) -> Self {
        let current = RwLock::new(Current { settings, buckets: buckets(settings) });
        Self { current, clock: DefaultClock::default(), checks: AtomicU32::new(0) }
    }

    /// Begins anew with full buckets, if anything is different.
    pub fn reload(&self, settings: RateLimit) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.settings != settings {
            *current = Current { settings, buckets: buckets(settings) };
        }
    }

    /// Takes one request from the address's bucket. None when there is no limit.
    fn check(&self, address: IpAddr) -> Option<Result<Standing, (Standing, Duration)>> {
        let buckets = self.current.read().unwrap_or_else(PoisonError::into_inner).buckets.clone()?;
        if self.checks.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            buckets.retain_recent();
            buckets.shrink_to_fit();
        }
        let standing = |quota: Quota, remaining: u32| {
            let limit = quota.burst_size().get();
            Standing { limit, remaining, reset: quota.replenish_interval() * limit.saturating_sub(remaining) }
        };
        Some(match buckets.check_key(&bucket_of(address)) {
            Ok(left) => Ok(standing(left.quota(), left.remaining_burst_capacity())),
            Err(no) => Err((standing(no.quota(), 0), no.wait_time_from(self.clock.now()))),
        })
    }
}

fn buckets(settings: RateLimit) -> Option<Arc<Keyed>> {
    let quota = Quota::per_second(settings.requests_per_second?).allow_burst(settings.burst);
    Some(Arc::new(Governor::dashmap(quota).with_middleware::<StateInformationMiddleware>()))
}

/// Refuses what is above the limit with a 429, and tells everybody how much is left.
pub async fn enforce(State(state): State<Shared>, request: Request, next: Next) -> Response {
    let address = request.extensions().get::<ClientAddress>().copied();
    match address.and_then(|ClientAddress(address)| state.limiter.check(address)) {
        None => next.run(request).await,
        Some(Ok(standing)) => {
            let mut response = next.run(request).await;
            standing.write(response.headers_mut());
            response
        }
        Some(Err((standing, wait))) => {
            let message = format!("Too many requests from this address: at most {} at once", standing.limit);
            let refusal = Refusal::RateLimited { quota: "address", message, retry_after: wait };
            (state.refused)(&refusal);
            let mut response = ApiError::refused(refusal).into_response();
            standing.write(response.headers_mut());
            response
        }
    }
}

impl Standing {
    fn write(self, headers: &mut HeaderMap) {
        let reset = u64::try_from(self.reset.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
        for (name, value) in [
            ("ratelimit-limit", HeaderValue::from(self.limit)),
            ("ratelimit-remaining", HeaderValue::from(self.remaining)),
            ("ratelimit-reset", HeaderValue::from(reset)),
        ] {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// An IPv6 client usually has a whole /64 to itself, so that is what counts as one address.
fn bucket_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn settings(per_second: u32, burst: u32) -> RateLimit {
        RateLimit { requests_per_second: NonZeroU32::new(per_second), burst: NonZeroU32::new(burst).unwrap() }
    }

    /// Takes `n` requests, which must all pass unless a whole second went by meanwhile.
    fn take(limiter: &RateLimiter, address: &str, n: usize) -> usize {
        let address: IpAddr = address.parse().unwrap();
        (0..n).filter(|_| limiter.check(address).unwrap().is_ok()).count()
    }

    #[test]
    fn the_bucket_empties_and_tells() {
        let limiter = RateLimiter::new(settings(1, 60));
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        assert_eq!(limiter.check(address).unwrap().unwrap().remaining, 59);
        let passed = take(&limiter, "10.0.0.1", 200);
        assert!((59..90).contains(&passed), "{passed}");
        let (standing, wait) = limiter.check(address).unwrap().unwrap_err();
        assert_eq!((standing.limit, standing.remaining), (60, 0));
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
        assert!(limiter.check("10.0.0.2".parse().unwrap()).unwrap().is_ok());
    }

    #[test]
    fn neighbours_in_a_v6_network_share_a_bucket() {
        let bucket = |address: &str| bucket_of(address.parse().unwrap());
        assert_eq!(bucket("2001:db8::1"), bucket("2001:db8::2"));
        assert_ne!(bucket("2001:db8::1"), bucket("2001:db8:0:1::1"));
        assert_eq!(bucket("::ffff:10.0.0.1"), bucket("10.0.0.1"));
        assert_ne!(bucket("10.0.0.1"), bucket("10.0.0.2"));
    }

    #[test]
    fn it_can_be_off_and_reloaded() {
        let limiter = RateLimiter::new(settings(0, 5));
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        assert!(limiter.check(address).is_none());
        limiter.reload(settings(1, 5));
        assert_eq!(limiter.check(address).unwrap().unwrap().remaining, 4);
        limiter.reload(settings(1, 5));
        assert!(limiter.check(address).unwrap().unwrap().remaining <= 4, "an unchanged limit keeps its buckets");
        limiter.reload(settings(1, 9));
        assert_eq!(limiter.check(address).unwrap().unwrap().remaining, 8);
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let limiter = RateLimiter::new(settings(1_000_000, 1));
        for n in 0..SWEEP_EVERY {
            assert!(limiter.check(IpAddr::from(n.to_be_bytes())).is_some());
        }
        let kept = limiter.current.read().unwrap().buckets.as_ref().unwrap().len();
        assert!(kept < SWEEP_EVERY as usize / 2, "{kept}");
    }
}
