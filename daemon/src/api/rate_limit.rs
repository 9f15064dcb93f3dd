//! Requests per client address, with the `RateLimit-*` headers; a second line behind admission and quotas.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter as Governor};

use super::address::ClientAddress;
use super::error::ApiError;
use super::settings::RateLimit;

type Keyed = Governor<IpAddr, DefaultKeyedStateStore<IpAddr>, DefaultClock, StateInformationMiddleware>;

/// After this many checks, addresses that have all their requests back are forgotten.
const SWEEP_EVERY: u32 = 4096;

/// One bucket an address.
pub struct RateLimiter {
    buckets: Option<Keyed>,
    clock: DefaultClock,
    checks: AtomicU32,
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
    /// With all buckets full. A burst or a pace of zero switches the limit off.
    pub fn new(settings: &RateLimit) -> Self {
        let quota = NonZeroU32::new(settings.burst)
            .and_then(|burst| Some(Quota::with_period(settings.replenish)?.allow_burst(burst)));
        let buckets = quota.map(|quota| Governor::dashmap(quota).with_middleware::<StateInformationMiddleware>());
        Self { buckets, clock: DefaultClock::default(), checks: AtomicU32::new(0) }
    }

    /// Takes one request from the address's bucket. None when there is no limit.
    fn check(&self, address: IpAddr) -> Option<Result<Standing, (Standing, Duration)>> {
        let buckets = self.buckets.as_ref()?;
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

/// Refuses what is above the limit with a 429, and tells everybody how much is left.
pub async fn enforce(State(limiter): State<Arc<RateLimiter>>, request: Request, next: Next) -> Response {
    let address = request.extensions().get::<ClientAddress>().copied();
    match address.and_then(|ClientAddress(address)| limiter.check(address)) {
        None => next.run(request).await,
        Some(Ok(standing)) => {
            let mut response = next.run(request).await;
            standing.write(response.headers_mut());
            response
        }
        Some(Err((standing, wait))) => {
            let message = format!("Too many requests from this address: at most {} at once", standing.limit);
            let mut response = ApiError::rate_limited(message, wait).into_response();
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
    use super::*;

    fn limiter(burst: u32) -> RateLimiter {
        RateLimiter::new(&RateLimit { burst, replenish: Duration::from_secs(3600) })
    }

    #[test]
    fn the_bucket_empties_and_tells() {
        let limiter = limiter(2);
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        assert_eq!(limiter.check(address).unwrap().unwrap().remaining, 1);
        assert_eq!(limiter.check(address).unwrap().unwrap().remaining, 0);
        let (standing, wait) = limiter.check(address).unwrap().unwrap_err();
        assert_eq!((standing.limit, standing.remaining), (2, 0));
        assert!(wait > Duration::from_secs(3500) && wait <= Duration::from_secs(3600), "{wait:?}");
        assert!(limiter.check("10.0.0.2".parse().unwrap()).unwrap().is_ok());
    }

    #[test]
    fn neighbours_in_a_v6_network_share_a_bucket() {
        let limiter = limiter(1);
        assert!(limiter.check("2001:db8::1".parse().unwrap()).unwrap().is_ok());
        assert!(limiter.check("2001:db8::2".parse().unwrap()).unwrap().is_err());
        assert!(limiter.check("2001:db8:0:1::1".parse().unwrap()).unwrap().is_ok());
        assert!(limiter.check("::ffff:10.0.0.1".parse().unwrap()).unwrap().is_ok());
        assert!(limiter.check("10.0.0.1".parse().unwrap()).unwrap().is_err());
    }

    #[test]
    fn zero_switches_it_off() {
        assert!(limiter(0).check("10.0.0.1".parse().unwrap()).is_none());
        let still = RateLimiter::new(&RateLimit { burst: 5, replenish: Duration::ZERO });
        assert!(still.check("10.0.0.1".parse().unwrap()).is_none());
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let limiter = RateLimiter::new(&RateLimit { burst: 1, replenish: Duration::from_nanos(1) });
        for n in 0..SWEEP_EVERY {
            let address = IpAddr::from(n.to_be_bytes());
            assert!(limiter.check(address).is_some());
        }
        assert!(limiter.buckets.as_ref().unwrap().len() <= 2);
    }
}
