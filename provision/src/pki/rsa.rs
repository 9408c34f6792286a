//! RSA keys, made faster than AWS-LC makes them: `RSA_generate_key` tests one candidate after the other, most of them in vain.
//!
//! The method is that of FIPS 186-5 A.1.3 (probable primes, e = 65537), but for how candidates are drawn: from a random odd
//! number upwards, the first prime in a window is taken (Brandt and Damgård, "On Generation of Probable Primes by Incremental
//! Search", CRYPTO '92, bound what that costs in entropy and in error: next to nothing). So one sieve rules out all candidates
//! of a window that have a small divisor, and what is left is tested two by two, which with AVX512-IFMA costs as much as one.
//!
//! Promised: primes of half the key's bits with the two highest set, tested in five rounds of Miller and Rabin with random
//! bases (FIPS 186-5 table B.1 and BoringSSL ask for at most five of primes of 1024 bits or more); |p − q| > 2^(bits/2 − 100);
//! d = e⁻¹ mod lcm(p − 1, q − 1) > 2^(bits/2); everything secret is wiped. AWS-LC checks the finished key when it imports it.
//!
//! Not promised: constant time. The sieve and the divisions leak to whoever observes caches while a key is made.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::bignum::{Exhausted, Modulus, Number, Scratch, powers};
use super::key::tag;

/// The public exponent.
const E: u64 = 65537;
/// Odd numbers in a window. One in 355 is prime at 1024 bits and one in 710 at 2048 bits, so few windows hold none.
const WINDOW: usize = 2048;
/// Divisors that are sieved out are less. Beyond, a divisor rules out too little for what its remainder costs.
const SIEVED: usize = 1 << 16;
/// Digits, to base 2³², of the greatest prime that is made: one of an RSA-4096 key.
const DIGITS: usize = 64;

/// Why a key cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum RsaError {
    /// AWS-LC could not compute.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// What has a chance of 2⁻⁹⁷ or less.
    #[error("two random primes are too close to each other: the machine's random numbers are not random")]
    NotRandom,
}

/// Makes `count` keys of `bits` bits, on all CPUs, as RSAPrivateKey in DER (RFC 8017 A.1.2).
pub(super) fn keys(count: usize, bits: u32) -> Result<Vec<Zeroizing<Vec<u8>>>, RsaError> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(2 * count);
    let begun = AtomicUsize::new(0);
    let (single, keys) = (Mutex::new(None), Mutex::new(Vec::with_capacity(count)));
    let work = || {
        let scratch = Scratch::new()?;
        // Primes are shared out rather than keys: how long one takes is a matter of luck, and this evens it out.
        while begun.fetch_add(1, Ordering::Relaxed) < 2 * count {
            let prime = prime(bits / 2, &scratch)?;
            let mut single = single.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(other) = single.take() else {
                *single = Some(prime);
                continue;
            };
            drop(single);
            let key = key(prime, other, bits, &scratch)?;
            keys.lock().unwrap_or_else(PoisonError::into_inner).push(key);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
        let results = std::iter::once(work()).chain(
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
        );
        results.collect::<Result<(), RsaError>>()
    })?;
    Ok(keys.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// The key of two primes.
fn key(p: Number, q: Number, bits: u32, scratch: &Scratch) -> Result<Zeroizing<Vec<u8>>, RsaError> {
    let (p, q) = if p.cmp(&q).is_gt() { (p, q) } else { (q, p) };
    if p.minus(&q)?.bits() <= bits / 2 - 100 {
        return Err(RsaError::NotRandom);
    }
    let n = p.times(&q, scratch)?;
    let (p1, q1) = (p.minus_one()?, q.minus_one()?);
    let lcm = p1.over(&p1.gcd(&q1, scratch)?, scratch)?.times(&q1, scratch)?;
    let e = Number::from_bytes(&E.to_be_bytes())?;
    let d = e.inverse(&lcm, scratch)?;
    if d.bits() <= bits / 2 {
        return Err(RsaError::NotRandom);
    }
    let (dp, dq, inverse) = (d.modulo(&p1, scratch)?, d.modulo(&q1, scratch)?, q.inverse(&p, scratch)?);
    // Room for all of it, so that no part of it stays behind where it was before growing.
    let mut fields = Zeroizing::new(Vec::with_capacity(bits as usize));
    tag(&mut fields, 0x02, &[0]);
    for number in [&n, &e, &d, &p, &q, &dp, &dq, &inverse] {
        let mut bytes = number.to_bytes();
        // An integer in DER has a sign.
        if bytes.first().is_none_or(|first| first & 0x80 != 0) {
            bytes = Zeroizing::new([&[0], &bytes[..]].concat());
        }
        tag(&mut fields, 0x02, &bytes);
    }
    let mut whole = Zeroizing::new(Vec::with_capacity(fields.len() + 4));
    tag(&mut whole, 0x30, &fields);
    Ok(whole)
}

/// A random prime of this many bits, the two highest of which are set, one less than which e does not divide.
fn prime(bits: u32, scratch: &Scratch) -> Result<Number, Exhausted> {
    loop {
        let mut start = Zeroizing::new(vec![0; bits as usize / 8]);
        rand::fill(&mut start).map_err(|_| Exhausted)?;
        start[0] |= 0xc0;
        let last = start.len() - 1;
        start[last] |= 1;
        let from = Number::from_bytes(&start)?;
        let left = sieve(&start);
        for pair in left.chunks(2) {
            let candidate = |offset: u64| Candidate::new(from.plus_word(offset)?, scratch);
            let (one, other) = (candidate(pair[0])?, candidate(pair[pair.len() - 1])?);
            let (first, second) = round(&one, &other, scratch)?;
            for (candidate, passed) in [(one, first), (other, second)] {
                if passed
                    && candidate.fits(bits)
                    && candidate.passes_twice(scratch)?
                    && candidate.passes_twice(scratch)?
                {
                    return Ok(candidate.modulus.into_number());
                }
            }
        }
    }
}

/// The odd primes below [`SIEVED`], each with the remainders of the powers of 2³².
static SMALL: LazyLock<Vec<(u32, [u16; DIGITS])>> = LazyLock::new(|| {
    let mut composite = vec![false; SIEVED];
    let mut primes = Vec::new();
    for number in (3..SIEVED).step_by(2) {
        if composite[number] {
            continue;
        }
        (number * number..SIEVED).step_by(2 * number).for_each(|multiple| composite[multiple] = true);
        let mut power = 1;
        let powers = std::array::from_fn(|_| {
            let this = power;
            power = (power << 32) % number as u64;
            this as u16
        });
        primes.push((number as u32, powers));
    }
    primes
});

/// The offsets from an odd number, below twice [`WINDOW`], at which no small prime divides.
fn sieve(start: &[u8]) -> Zeroizing<Vec<u64>> {
    let digit = |bytes: &[u8]| bytes.iter().fold(0, |digit, byte| digit << 8 | u32::from(*byte));
    let digits = Zeroizing::new(start.rchunks(4).map(digit).collect::<Vec<u32>>());
    let mut divided = Zeroizing::new([false; WINDOW]);
    for (prime, powers) in SMALL.iter() {
        // 64 products of 48 bits fit.
        let sum: u64 = digits.iter().zip(powers).map(|(digit, power)| u64::from(*digit) * u64::from(*power)).sum();
        // start + 2·k is divisible for k = −start/2, and 1/2 is (prime + 1)/2.
        let remainder = (sum % u64::from(*prime)) as u32;
        let up = (prime - remainder) % prime;
        let first = if up.is_multiple_of(2) { up / 2 } else { (up + prime) / 2 };
        (first as usize..WINDOW).step_by(*prime as usize).for_each(|k| divided[k] = true);
    }
    let left = (0u64..).step_by(2).zip(divided.iter()).filter(|(_, divided)| !**divided);
    Zeroizing::new(left.map(|(offset, _)| offset).collect())
}

/// An odd number that may be prime: n, with n − 1 = odd · 2^twos.
struct Candidate {
    modulus: Modulus,
    less_one: Number,
    odd: Number,
    twos: u32,
}

impl Candidate {
    fn new(number: Number, scratch: &Scratch) -> Result<Self, Exhausted> {
        let less_one = number.minus_one()?;
        let (odd, twos) = less_one.odd_part()?;
        Ok(Self { modulus: Modulus::new(number, scratch)?, less_one, odd, twos })
    }

    fn fits(&self, bits: u32) -> bool {
        self.modulus.number().bits() == bits && self.modulus.number().modulo_word(E) != 1
    }

    fn passes_twice(&self, scratch: &Scratch) -> Result<bool, Exhausted> {
        let (first, second) = round(self, self, scratch)?;
        Ok(first && second)
    }

    /// Is `power`, which is base^odd, what it would be if this were prime?
    fn agrees(&self, mut power: Number, scratch: &Scratch) -> Result<bool, Exhausted> {
        if power.is_one() || power.cmp(&self.less_one).is_eq() {
            return Ok(true);
        }
        for _ in 1..self.twos {
            power = power.squared(self.modulus.number(), scratch)?;
            if power.cmp(&self.less_one).is_eq() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A round of Miller and Rabin for each of two (FIPS 186-5 B.3.1), with random bases from 2 to n − 2.
fn round(one: &Candidate, other: &Candidate, scratch: &Scratch) -> Result<(bool, bool), Exhausted> {
    let (base1, base2) = (one.less_one.random_below()?, other.less_one.random_below()?);
    let (power1, power2) = powers((&base1, &one.odd, &one.modulus), (&base2, &other.odd, &other.modulus), scratch)?;
    Ok((one.agrees(power1, scratch)?, other.agrees(power2, scratch)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sieve_leaves_what_no_small_prime_divides_and_nothing_else() {
        let mut start = [0; 128];
        rand::fill(&mut start).unwrap();
        start[0] |= 0xc0;
        start[127] |= 1;
        let (from, left) = (Number::from_bytes(&start).unwrap(), sieve(&start));
        assert!(left.len() > WINDOW / 20 && left.len() < WINDOW / 5, "{} of {WINDOW} are left", left.len());
        for offset in (0..2 * WINDOW as u64).step_by(2) {
            let number = from.plus_word(offset).unwrap();
            let divided = SMALL.iter().any(|(prime, _)| number.modulo_word(u64::from(*prime)) == 0);
            assert_eq!(left.contains(&offset), !divided, "+{offset}");
        }
    }

    #[test]
    fn rounds_tell_primes_from_composites() {
        let scratch = Scratch::new().unwrap();
        let passes = |bytes: &[u8]| {
            let candidate = Candidate::new(Number::from_bytes(bytes).unwrap(), &scratch).unwrap();
            (0..5).all(|_| candidate.passes_twice(&scratch).unwrap())
        };
        // 2^1024 - 105 is prime, as are 2^255 - 19 and 65537, one less than which has 16 factors of two.
        let mut great = [0xff; 128];
        great[127] = 0x97;
        let mut curve = [0xff; 32];
        (curve[0], curve[31]) = (0x7f, 0xed);
        assert!(passes(&great) && passes(&curve) && passes(&[1, 0, 1]));
        great[127] = 0x99;
        // Carmichael numbers, which Fermat's test alone takes for primes: 561, 41041, 825265.
        for composite in [&great[..], &[0x02, 0x31], &[0xa0, 0x51], &[0x0c, 0x97, 0xb1]] {
            assert!(!passes(composite), "{composite:?}");
        }
    }

    #[test]
    fn keys_are_what_fips_186_5_asks_for() {
        let scratch = Scratch::new().unwrap();
        for bits in [2048, 3072] {
            let primes = [prime(bits / 2, &scratch).unwrap(), prime(bits / 2, &scratch).unwrap()];
            for prime in &primes {
                assert_eq!((prime.bits(), prime.to_bytes()[0] & 0xc0), (bits / 2, 0xc0));
                assert!(prime.modulo_word(E) > 1);
            }
            let [p, q] = primes;
            let n = p.times(&q, &scratch).unwrap();
            assert_eq!(n.bits(), bits);
            let close = p.plus_word(2).unwrap();
            let copy = Number::from_bytes(&p.to_bytes()).unwrap();
            assert_eq!(key(p, close, bits, &scratch).unwrap_err(), RsaError::NotRandom);
            let der = key(copy, q, bits, &scratch).unwrap();
            let modulus = n.to_bytes();
            assert!(der.windows(modulus.len()).any(|part| part == &modulus[..]));
        }
        assert_eq!(keys(0, 2048).unwrap().len(), 0);
        assert_eq!(keys(3, 2048).unwrap().len(), 3);
    }
}
