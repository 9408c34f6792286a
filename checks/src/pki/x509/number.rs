//! Whether the numbers of a private RSA key belong together, computed with AWS-LC's `BIGNUM`.
//!
//! AWS-LC asks the same when it imports a key, and takes thirty times as long: its divisions take equal time whatever
//! they divide, and here nobody can measure them. All `unsafe` code of the PKI stands here and in `point`. A value owns
//! what it points to and wipes it when it is dropped. The functions are those of `openssl/bn.h`; none of those that are
//! called here fails but for want of memory.

use std::alloc::{Layout, handle_alloc_error};
use std::ffi::c_int;
use std::ptr::{NonNull, null_mut};

use aws_lc_sys as c;

/// Without memory it ends as all of Rust does.
fn there<T>(pointer: *mut T) -> NonNull<T> {
    NonNull::new(pointer).unwrap_or_else(|| handle_alloc_error(Layout::new::<usize>()))
}

/// A number that is not negative.
pub(super) struct Number(NonNull<c::BIGNUM>);

impl Drop for Number {
    fn drop(&mut self) {
        // SAFETY: the pointer is from BN_new, is owned, and is not used again. The memory is wiped.
        unsafe { c::BN_clear_free(self.0.as_ptr()) }
    }
}

/// What computations use for intermediate values.
struct Scratch(NonNull<c::BN_CTX>);

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: the pointer is from BN_CTX_new, is owned, and is not used again. AWS-LC wipes whatever it frees.
        unsafe { c::BN_CTX_free(self.0.as_ptr()) }
    }
}

impl Scratch {
    fn new() -> Self {
        // SAFETY: the function has no preconditions.
        Self(there(unsafe { c::BN_CTX_new() }))
    }

    fn raw(&self) -> *mut c::BN_CTX {
        self.0.as_ptr()
    }
}

// In all that follows the pointers are to live numbers, since a reference to their owner is held during the call.
// Results are numbers of their own, so nothing that is read is written.
impl Number {
    pub(super) fn raw(&self) -> *const c::BIGNUM {
        self.0.as_ptr()
    }

    /// A new number that `fill` gives its value.
    fn made(fill: impl FnOnce(*mut c::BIGNUM) -> c_int) -> Self {
        // SAFETY: the function has no preconditions.
        let number = Self(there(unsafe { c::BN_new() }));
        if fill(number.0.as_ptr()) != 1 {
            handle_alloc_error(Layout::new::<usize>());
        }
        number
    }

    /// The most significant byte comes first.
    pub(super) fn new(bytes: &[u8]) -> Self {
        // SAFETY: the function reads `bytes.len()` bytes there.
        Self::made(|to| unsafe { c_int::from(!c::BN_bin2bn(bytes.as_ptr(), bytes.len(), to).is_null()) })
    }

    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // SAFETY: see above.
        unsafe { c::BN_cmp(self.raw(), other.raw()) }.cmp(&0)
    }

    fn exceeds_one(&self) -> bool {
        // SAFETY: see above; the constant one lives for ever.
        unsafe { c::BN_cmp(self.raw(), c::BN_value_one()) > 0 }
    }

    pub(super) fn is_zero(&self) -> bool {
        // SAFETY: see above.
        unsafe { c::BN_is_zero(self.raw()) == 1 }
    }

    fn is_one(&self) -> bool {
        // SAFETY: see above.
        unsafe { c::BN_is_one(self.raw()) == 1 }
    }

    /// It is not zero.
    fn minus_one(&self) -> Self {
        // SAFETY: see above; the constant one lives for ever.
        Self::made(|to| unsafe { c::BN_sub(to, self.raw(), c::BN_value_one()) })
    }

    fn times(&self, other: &Self, scratch: &Scratch) -> Self {
        // SAFETY: see above.
        Self::made(|to| unsafe { c::BN_mul(to, self.raw(), other.raw(), scratch.raw()) })
    }

    /// The remainder of a division; `other` is not zero.
    fn modulo(&self, other: &Self, scratch: &Scratch) -> Self {
        // SAFETY: see above; the quotient may be null.
        Self::made(|to| unsafe { c::BN_div(null_mut(), to, self.raw(), other.raw(), scratch.raw()) })
    }
}

/// The numbers of an RSAPrivateKey (RFC 8017 appendix A.1.2), big-endian and not negative.
pub(super) struct RsaNumbers<'a> {
    pub(super) modulus: &'a [u8],
    pub(super) public_exponent: &'a [u8],
    pub(super) private_exponent: &'a [u8],
    pub(super) primes: [&'a [u8]; 2],
    /// The private exponent modulo each prime less one.
    pub(super) exponents: [&'a [u8]; 2],
    /// The inverse of the second prime modulo the first.
    pub(super) coefficient: &'a [u8],
}

impl RsaNumbers<'_> {
    /// Do they fit each other as RFC 8017 section 3.2 has it? Whether the primes are prime is not asked. Takes time in
    /// the square of the modulus' size, whatever the size of the others.
    pub(super) fn fit(&self) -> bool {
        let [modulus, e, d] = [self.modulus, self.public_exponent, self.private_exponent].map(Number::new);
        let (primes, exponents) = (self.primes.map(Number::new), self.exponents.map(Number::new));
        let coefficient = Number::new(self.coefficient);
        // None costs more than the modulus, and by none is divided that may be zero.
        let bounded = primes.iter().chain([&e, &d]).all(|number| number.cmp(&modulus).is_lt());
        if !bounded || !primes.iter().all(Number::exceeds_one) || !coefficient.cmp(&primes[0]).is_lt() {
            return false;
        }
        let scratch = Scratch::new();
        let inverse = |one: &Number, other: &Number, modulus: &Number| {
            one.times(other, &scratch).modulo(modulus, &scratch).is_one()
        };
        let fits = |(prime, exponent): (&Number, &Number)| {
            let order = prime.minus_one();
            inverse(&d, &e, &order) && d.modulo(&order, &scratch).cmp(exponent).is_eq()
        };
        primes[0].times(&primes[1], &scratch).cmp(&modulus).is_eq()
            && primes.iter().zip(&exponents).all(fits)
            && inverse(&primes[1], &coefficient, &primes[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_counts() {
        // p = 61, q = 53, the example that textbooks give.
        let numbers: [&[u8]; 8] = [&[0x0c, 0xa1], &[17], &[0x0a, 0xc1], &[61], &[53], &[53], &[49], &[38]];
        let fit = |numbers: [&[u8]; 8]| {
            let [modulus, public_exponent, private_exponent, p, q, dp, dq, coefficient] = numbers;
            let (primes, exponents) = ([p, q], [dp, dq]);
            RsaNumbers { modulus, public_exponent, private_exponent, primes, exponents, coefficient }.fit()
        };
        assert!(fit(numbers));
        for place in 0..numbers.len() {
            for wrong in [&[][..], &[1], &[2], &[59], &[0x0d, 0x01], &[0xff; 9]] {
                let mut numbers = numbers;
                numbers[place] = wrong;
                assert!(!fit(numbers), "{wrong:?} in place {place}");
            }
        }
    }
}
