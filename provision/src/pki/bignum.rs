//! Numbers of any size: AWS-LC's `BIGNUM`, as far as the making of RSA keys needs it.
//!
//! All `unsafe` code of the PKI stands here. A value owns what it points to and wipes it when it is dropped; what the library
//! answers is checked, always. The functions are those of `openssl/bn.h`, which says what each asks of its arguments.

use std::ffi::c_int;
use std::ptr::NonNull;

use aws_lc_sys as c;
use zeroize::Zeroizing;

/// AWS-LC could not compute: there is no memory, or there are no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("AWS-LC has no memory for a number, or no random numbers")]
pub(super) struct Exhausted;

fn done(answer: c_int) -> Result<(), Exhausted> {
    if answer == 1 { Ok(()) } else { Err(Exhausted) }
}

/// A number that is not negative.
pub(super) struct Number(NonNull<c::BIGNUM>);

// SAFETY: the memory is this value's alone, and AWS-LC does not bind it to the thread that made it.
unsafe impl Send for Number {}

impl Drop for Number {
    fn drop(&mut self) {
        // SAFETY: the pointer is from BN_new or BN_dup, is owned, and is not used again. The memory is wiped.
        unsafe { c::BN_clear_free(self.0.as_ptr()) }
    }
}

/// What computations use for intermediate values. Being wiped with it, these do not outlive it.
pub(super) struct Scratch(NonNull<c::BN_CTX>);

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: the pointer is from BN_CTX_new, is owned, and is not used again. AWS-LC wipes whatever it frees.
        unsafe { c::BN_CTX_free(self.0.as_ptr()) }
    }
}

impl Scratch {
    pub(super) fn new() -> Result<Self, Exhausted> {
        // SAFETY: the function has no preconditions.
        NonNull::new(unsafe { c::BN_CTX_new() }).map(Self).ok_or(Exhausted)
    }
}

// In all that follows the pointers are to live numbers, since a reference to their owner is held during the call, and to a
// scratch of this thread, since `Scratch` is not `Sync`. Results are numbers of their own, so nothing that is read is written.
impl Number {
    fn new() -> Result<Self, Exhausted> {
        // SAFETY: the function has no preconditions.
        NonNull::new(unsafe { c::BN_new() }).map(Self).ok_or(Exhausted)
    }

    fn raw(&self) -> *const c::BIGNUM {
        self.0.as_ptr()
    }

    /// A new number that `fill` gives its value.
    fn made(fill: impl FnOnce(*mut c::BIGNUM) -> c_int) -> Result<Self, Exhausted> {
        let number = Self::new()?;
        done(fill(number.0.as_ptr()))?;
        Ok(number)
    }

    /// The most significant byte comes first.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, Exhausted> {
        // SAFETY: the function reads `bytes.len()` bytes there.
        Self::made(|to| unsafe { c_int::from(!c::BN_bin2bn(bytes.as_ptr(), bytes.len(), to).is_null()) })
    }

    /// The most significant byte comes first, and is not zero.
    pub(super) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(vec![0; self.bits().div_ceil(8) as usize]);
        // SAFETY: the function writes as many bytes as the number has, and `bytes` has as many.
        unsafe { c::BN_bn2bin(self.raw(), bytes.as_mut_ptr()) };
        bytes
    }

    /// How many bits it has.
    pub(super) fn bits(&self) -> u32 {
        // SAFETY: see above.
        unsafe { c::BN_num_bits(self.raw()) }
    }

    pub(super) fn is_one(&self) -> bool {
        // SAFETY: see above.
        unsafe { c::BN_is_one(self.raw()) == 1 }
    }

    pub(super) fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // SAFETY: see above.
        unsafe { c::BN_cmp(self.raw(), other.raw()) }.cmp(&0)
    }

    /// The remainder of a division by a word that is not zero.
    pub(super) fn modulo_word(&self, word: u64) -> u64 {
        // SAFETY: see above.
        unsafe { c::BN_mod_word(self.raw(), word) }
    }

    pub(super) fn plus_word(&self, word: u64) -> Result<Self, Exhausted> {
        // SAFETY: see above.
        Self::made(|to| unsafe { c_int::from(!c::BN_copy(to, self.raw()).is_null()) & c::BN_add_word(to, word) })
    }

    /// `other` is not greater.
    pub(super) fn minus(&self, other: &Self) -> Result<Self, Exhausted> {
        // SAFETY: see above.
        Self::made(|to| unsafe { c::BN_sub(to, self.raw(), other.raw()) })
    }

    pub(super) fn minus_one(&self) -> Result<Self, Exhausted> {
        // SAFETY: see above; the constant one lives for ever.
        Self::made(|to| unsafe { c::BN_sub(to, self.raw(), c::BN_value_one()) })
    }

    pub(super) fn times(&self, other: &Self, scratch: &Scratch) -> Result<Self, Exhausted> {
        // SAFETY: see above.
        Self::made(|to| unsafe { c::BN_mul(to, self.raw(), other.raw(), scratch.0.as_ptr()) })
    }

    /// The whole part of a division; `other` is not zero.
    pub(super) fn over(&self, other: &Self, scratch: &Scratch) -> Result<Self, Exhausted> {
        let none = std::ptr::null_mut();
        // SAFETY: see above; the remainder may be null.
        Self::made(|to| unsafe { c::BN_div(to, none, self.raw(), other.raw(), scratch.0.as_ptr()) })
    }

    /// The remainder of a division; `other` is not zero.
    pub(super) fn modulo(&self, other: &Self, scratch: &Scratch) -> Result<Self, Exhausted> {
        // SAFETY: see above.
        Self::made(|to| unsafe { c::BN_nnmod(to, self.raw(), other.raw(), scratch.0.as_ptr()) })
    }

    /// The greatest common divisor.
    pub(super) fn gcd(&self, other: &Self, scratch: &Scratch) -> Result<Self, Exhausted> {
        // SAFETY: see above.
        Self::made(|to| unsafe { c::BN_gcd(to, self.raw(), other.raw(), scratch.0.as_ptr()) })
    }

    /// The inverse modulo `modulus`, which has no divisor in common with it.
    pub(super) fn inverse(&self, modulus: &Self, scratch: &Scratch) -> Result<Self, Exhausted> {
        let inverse = |to| {
            // SAFETY: see above.
            unsafe { c::BN_mod_inverse(to, self.raw(), modulus.raw(), scratch.0.as_ptr()) }
        };
        Self::made(|to| c_int::from(!inverse(to).is_null()))
    }

    /// The square modulo `modulus`, which is not zero.
    pub(super) fn squared(&self, modulus: &Self, scratch: &Scratch) -> Result<Self, Exhausted> {
        // SAFETY: see above.
        Self::made(|to| unsafe { c::BN_mod_sqr(to, self.raw(), modulus.raw(), scratch.0.as_ptr()) })
    }

    /// An even number, not zero, without its factors of two, and how many these are.
    pub(super) fn odd_part(&self) -> Result<(Self, u32), Exhausted> {
        // SAFETY: see above.
        let twos = unsafe { c::BN_count_low_zero_bits(self.raw()) };
        // SAFETY: see above.
        let odd = Self::made(|to| unsafe { c::BN_rshift(to, self.raw(), twos) })?;
        Ok((odd, twos.unsigned_abs()))
    }

    /// A random number, at least 2 and less than this one, each as likely as the other.
    pub(super) fn random_below(&self) -> Result<Self, Exhausted> {
        // SAFETY: see above.
        Self::made(|to| unsafe { c::BN_rand_range_ex(to, 2, self.raw()) })
    }
}

/// What Montgomery's method needs to know of a modulus.
struct Form(NonNull<c::BN_MONT_CTX>);

impl Drop for Form {
    fn drop(&mut self) {
        // SAFETY: the pointer is from BN_MONT_CTX_new_for_modulus, is owned, and is not used again. AWS-LC wipes whatever it
        // frees.
        unsafe { c::BN_MONT_CTX_free(self.0.as_ptr()) }
    }
}

/// An odd number to compute powers by.
pub(super) struct Modulus {
    number: Number,
    form: Form,
}

impl Modulus {
    pub(super) fn new(number: Number, scratch: &Scratch) -> Result<Self, Exhausted> {
        // SAFETY: see above.
        let form = unsafe { c::BN_MONT_CTX_new_for_modulus(number.raw(), scratch.0.as_ptr()) };
        Ok(Self { form: NonNull::new(form).map(Form).ok_or(Exhausted)?, number })
    }

    pub(super) fn number(&self) -> &Number {
        &self.number
    }

    pub(super) fn into_number(self) -> Number {
        self.number
    }
}

/// A base, an exponent and a modulus; the base is less than the modulus.
pub(super) type Power<'a> = (&'a Number, &'a Number, &'a Modulus);

/// Two powers at once: with AVX512-IFMA the two take as long as one, elsewhere as long as two.
pub(super) fn powers(one: Power<'_>, other: Power<'_>, scratch: &Scratch) -> Result<(Number, Number), Exhausted> {
    let (first, second) = (Number::new()?, Number::new()?);
    let ((base1, exponent1, modulus1), (base2, exponent2, modulus2)) = (one, other);
    // SAFETY: see above; the two results are distinct and are none of the arguments, and each form is of its modulus.
    let answer = unsafe {
        c::BN_mod_exp_mont_consttime_x2(
            first.0.as_ptr(),
            base1.raw(),
            exponent1.raw(),
            modulus1.number.raw(),
            modulus1.form.0.as_ptr(),
            second.0.as_ptr(),
            base2.raw(),
            exponent2.raw(),
            modulus2.number.raw(),
            modulus2.form.0.as_ptr(),
            scratch.0.as_ptr(),
        )
    };
    done(answer)?;
    Ok((first, second))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: u64) -> Number {
        Number::from_bytes(&value.to_be_bytes()).unwrap()
    }

    fn value(number: &Number) -> u64 {
        number.to_bytes().iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    #[test]
    fn arithmetic_is_what_it_says() {
        let scratch = Scratch::new().unwrap();
        let (a, b) = (number(1_000_003), number(97));
        assert_eq!(value(&a.times(&b, &scratch).unwrap()), 97_000_291);
        assert_eq!(value(&a.over(&b, &scratch).unwrap()), 10_309);
        assert_eq!(value(&a.modulo(&b, &scratch).unwrap()), a.modulo_word(97));
        assert_eq!(value(&a.minus(&b).unwrap()), 999_906);
        assert_eq!(value(&a.minus_one().unwrap().plus_word(3).unwrap()), 1_000_005);
        assert_eq!(value(&number(84).gcd(&number(36), &scratch).unwrap()), 12);
        assert_eq!(value(&number(3).inverse(&number(40), &scratch).unwrap()), 27);
        assert_eq!(value(&a.squared(&b, &scratch).unwrap()), 30 * 30 % 97);
        let (odd, twos) = number(96).odd_part().unwrap();
        assert_eq!((value(&odd), twos), (3, 5));
        assert!(b.cmp(&a).is_lt() && number(1).is_one() && !b.is_one());
        assert_eq!((a.bits(), number(0).bits(), number(0).to_bytes().len()), (20, 0, 0));
        assert!((0..100).all(|_| (2..97).contains(&value(&b.random_below().unwrap()))));
    }

    #[test]
    fn powers_are_of_their_own_bases_exponents_and_moduli() {
        let scratch = Scratch::new().unwrap();
        let (one, other) =
            (Modulus::new(number(1_000_003), &scratch).unwrap(), Modulus::new(number(97), &scratch).unwrap());
        let (first, second) =
            powers((&number(2), &number(100), &one), (&number(5), &number(13), &other), &scratch).unwrap();
        let power = |base: u64, exponent, modulus| (0..exponent).fold(1, |power, _| power * base % modulus);
        assert_eq!((value(&first), value(&second)), (power(2, 100, 1_000_003), power(5, 13, 97)));
        assert_eq!(value(&one.into_number()), 1_000_003);
        // Of 1024 bits each, which is where two are one: by Fermat's theorem these powers are 1. 2^1024 - 105 is prime.
        let mut bytes = [0xff; 128];
        bytes[127] = 0x97;
        let prime = Modulus::new(Number::from_bytes(&bytes).unwrap(), &scratch).unwrap();
        let less = prime.number().minus_one().unwrap();
        let (base1, base2) = (less.random_below().unwrap(), less.random_below().unwrap());
        let (first, second) = powers((&base1, &less, &prime), (&base2, &less, &prime), &scratch).unwrap();
        assert!(first.is_one() && second.is_one());
    }
}
