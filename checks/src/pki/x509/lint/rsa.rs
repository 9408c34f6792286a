//! RSA keys that can be broken: by their exponent, by small factors, by the flaw of Infineon's key generator (ROCA,
//! CVE-2017-15361), or because two of them have a prime in common.

use std::fmt;
use std::sync::LazyLock;

use num_bigint::BigUint;
use num_integer::Integer as _;

use super::super::public_key::RsaKey;

/// Why an RSA key can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Weakness {
    /// Its exponent is even or 1, and so none; or below 65537, by which padding must be perfect (FIPS 186-5, appendix
    /// A.1.1).
    Exponent(u64),
    /// Its modulus is divisible by this small prime.
    SmallFactor(u32),
    /// Its modulus has the fingerprint of ROCA.
    Roca,
}

impl fmt::Display for Weakness {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exponent(exponent) => write!(out, "has the public exponent {exponent}"),
            Self::SmallFactor(prime) => write!(out, "is divisible by {prime}"),
            Self::Roca => out.write_str("was made by a generator with the ROCA flaw (CVE-2017-15361)"),
        }
    }
}

/// The primes below 752, as zlint tries them.
static PRIMES: LazyLock<Vec<u32>> =
    LazyLock::new(|| (2..752).filter(|number| (2..*number).all(|divisor| number % divisor != 0)).collect());

/// The primes in groups whose product is below 2³², so that a modulus is divided a few times only.
static GROUPS: LazyLock<Vec<(u64, Vec<u32>)>> = LazyLock::new(|| {
    let mut groups: Vec<(u64, Vec<u32>)> = Vec::new();
    for prime in PRIMES.iter().copied() {
        match groups.last_mut() {
            Some((product, primes)) if *product * u64::from(prime) < 1 << 32 => {
                *product *= u64::from(prime);
                primes.push(prime);
            }
            _ => groups.push((u64::from(prime), vec![prime])),
        }
    }
    groups
});

/// For each prime that the flawed generator's moduli are told by, which remainders a power of 65537 has.
static ROCA: LazyLock<Vec<(u32, Vec<bool>)>> = LazyLock::new(|| {
    let powers = |prime: u32| {
        let mut seen = vec![false; prime as usize];
        let mut power = 1;
        while !std::mem::replace(&mut seen[power as usize], true) {
            power = power * (65537 % prime) % prime;
        }
        (prime, seen)
    };
    PRIMES.iter().copied().filter(|prime| (3..=167).contains(prime)).map(powers).collect()
});

/// What breaks one key.
pub(super) fn weaknesses(key: &RsaKey) -> Vec<Weakness> {
    let mut found = Vec::new();
    if key.exponent.is_multiple_of(2) || key.exponent < 65_537 {
        found.push(Weakness::Exponent(key.exponent));
    }
    let limbs: Vec<u64> =
        key.modulus.rchunks(4).rev().map(|limb| limb.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))).collect();
    let mut roca = ROCA.iter();
    let mut flawed = true;
    let mut factor = None;
    for (product, primes) in GROUPS.iter() {
        let rest = limbs.iter().fold(0, |rest, limb| (rest << 32 | limb) % product);
        for prime in primes {
            let remainder = rest % u64::from(*prime);
            if remainder == 0 && factor.is_none() {
                factor = Some(*prime);
            }
            if (3..=167).contains(prime)
                && let Some((_, powers)) = roca.next()
            {
                flawed &= usize::try_from(remainder).is_ok_and(|remainder| powers[remainder]);
            }
        }
    }
    found.extend(factor.map(Weakness::SmallFactor));
    if flawed && factor.is_none() {
        found.push(Weakness::Roca);
    }
    found
}

/// Which of these moduli have a factor in common with another: pairs of the labels that they came with, each way.
///
/// By the products of a tree and the remainders of their squares (Bernstein), so that thousands take seconds. No
/// modulus may be 0.
pub fn shared_factors(moduli: &[(usize, &[u8])]) -> Vec<(usize, usize)> {
    let numbers: Vec<_> = moduli.iter().map(|(_, bytes)| BigUint::from_bytes_be(bytes)).collect();
    let one = BigUint::from(1_u8);
    let rests = remainders(&numbers);
    let suspects: Vec<_> = (0..numbers.len()).filter(|index| rests[*index].gcd(&numbers[*index]) > one).collect();
    let mut found = Vec::new();
    for ours in &suspects {
        let partner = suspects.iter().find(|theirs| ours != *theirs && numbers[*ours].gcd(&numbers[**theirs]) > one);
        found.extend(partner.map(|theirs| (moduli[*ours].0, moduli[*theirs].0)));
    }
    found
}

/// For each number, the product of all others modulo that number.
fn remainders(numbers: &[BigUint]) -> Vec<BigUint> {
    let mut tree = vec![numbers.to_vec()];
    while let Some(level) = tree.last().filter(|level| level.len() > 1) {
        let next = level.chunks(2).map(|pair| pair.iter().product()).collect();
        tree.push(next);
    }
    let mut rests = tree.pop().unwrap_or_default();
    for level in tree.iter().rev() {
        rests = level.iter().enumerate().map(|(index, number)| &rests[index / 2] % (number * number)).collect();
    }
    rests.iter().zip(numbers).map(|(rest, number)| rest / number).collect()
}
