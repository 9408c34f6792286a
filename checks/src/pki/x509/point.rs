//! Points of curves, with AWS-LC: whether one is on its curve, and which is the public half of a private key.
//!
//! AWS-LC's own reading of keys does the same among much else. The functions are those of `openssl/ec.h`; of them
//! `EC_POINT_oct2point` alone refuses an argument, all others fail but for want of memory.

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::{NonNull, null, null_mut};

use aws_lc_sys as c;

use super::number::Number;
use super::public_key::Curve;

/// The group of a curve, which AWS-LC has in static memory.
#[derive(Clone, Copy)]
pub(super) struct Group(*const c::EC_GROUP);

/// A point of a group.
struct Point {
    raw: NonNull<c::EC_POINT>,
    group: Group,
}

impl Drop for Point {
    fn drop(&mut self) {
        // SAFETY: the pointer is from EC_POINT_new, is owned, and is not used again.
        unsafe { c::EC_POINT_free(self.raw.as_ptr()) }
    }
}

impl Group {
    /// That of a curve which Go's crypto/x509 knows; others have none.
    pub(super) fn of(curve: &Curve) -> Option<Self> {
        // SAFETY: the functions have no preconditions.
        Some(Self(unsafe {
            match curve {
                Curve::P224 => c::EC_group_p224(),
                Curve::P256 => c::EC_group_p256(),
                Curve::P384 => c::EC_group_p384(),
                Curve::P521 => c::EC_group_p521(),
                Curve::Other(_) => return None,
            }
        }))
    }

    /// The public half of a private key, which is big-endian; in the uncompressed form of SEC 1 section 2.3.3.
    ///
    /// `None` if the key is not from 1 to the order of the curve less one, or if `written`, the point that stands
    /// beside it, is another one.
    pub(super) fn public_half(self, secret: &[u8], written: Option<&[u8]>) -> Option<Vec<u8>> {
        let secret = Number::new(secret);
        // SAFETY: the group lives for ever, and so does its order.
        let order = unsafe { c::BN_cmp(secret.raw(), c::EC_GROUP_get0_order(self.0)) };
        if order >= 0 || secret.is_zero() {
            return None;
        }
        let point = self.base_times(&secret);
        match written {
            // It costs less to compare with a point than to write one.
            Some(written) => (self.read(written)? == point).then(|| written.to_vec()),
            None => Some(point.write()),
        }
    }

    /// Is this a point of the curve, in uncompressed form? Go reads no other.
    pub(super) fn has(self, written: &[u8]) -> bool {
        written.first() == Some(&4) && self.read(written).is_some()
    }

    fn point(self) -> Point {
        // SAFETY: the group lives for ever.
        let raw = NonNull::new(unsafe { c::EC_POINT_new(self.0) });
        Point { raw: raw.unwrap_or_else(|| handle_alloc_error(Layout::new::<usize>())), group: self }
    }

    fn base_times(self, factor: &Number) -> Point {
        let product = self.point();
        // SAFETY: group, point and factor are live, and the point is of the group. Without a second point there is no
        // second factor.
        let done = unsafe { c::EC_POINT_mul(self.0, product.raw.as_ptr(), factor.raw(), null(), null(), null_mut()) };
        if done == 1 { product } else { handle_alloc_error(Layout::new::<usize>()) }
    }

    /// `None` if it is not a point of the curve with coordinates below the field's prime.
    fn read(self, written: &[u8]) -> Option<Point> {
        let point = self.point();
        // SAFETY: group and point are live, and the function reads `written.len()` bytes there.
        let done =
            unsafe { c::EC_POINT_oct2point(self.0, point.raw.as_ptr(), written.as_ptr(), written.len(), null_mut()) };
        // What is refused leaves a note in a list of this thread, which nobody reads.
        (done == 1).then_some(point)
    }
}

impl PartialEq for Point {
    fn eq(&self, other: &Self) -> bool {
        // SAFETY: all three are live.
        unsafe { c::EC_POINT_cmp(self.group.0, self.raw.as_ptr(), other.raw.as_ptr(), null_mut()) == 0 }
    }
}

impl Point {
    fn write(&self) -> Vec<u8> {
        let form = c::point_conversion_form_t::POINT_CONVERSION_UNCOMPRESSED;
        let write = |to: *mut u8, length| {
            // SAFETY: group and point are live, and the function writes `length` bytes at most; to a null pointer it
            // writes none, and says how many it would.
            unsafe { c::EC_POINT_point2oct(self.group.0, self.raw.as_ptr(), form, to, length, null_mut()) }
        };
        let mut bytes = vec![0; write(null_mut(), 0)];
        let length = write(bytes.as_mut_ptr(), bytes.len());
        bytes.truncate(length);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
    use aws_lc_rs::signature::{self, EcdsaKeyPair, KeyPair as _};

    use super::*;

    #[test]
    fn it_is_the_point_that_aws_lc_makes() {
        let curves = [
            (Curve::P256, &signature::ECDSA_P256_SHA256_ASN1_SIGNING),
            (Curve::P384, &signature::ECDSA_P384_SHA384_ASN1_SIGNING),
            (Curve::P521, &signature::ECDSA_P521_SHA512_ASN1_SIGNING),
        ];
        for (curve, algorithm) in curves {
            let group = Group::of(&curve).unwrap();
            let [key, other] = [(); 2].map(|()| EcdsaKeyPair::generate(algorithm).unwrap());
            let secret: EcPrivateKeyBin<'_> = key.private_key().as_be_bytes().unwrap();
            let (secret, public, other) = (secret.as_ref(), key.public_key().as_ref(), other.public_key().as_ref());
            assert_eq!(group.public_half(secret, None).as_deref(), Some(public), "{curve}");
            assert_eq!(group.public_half(secret, Some(public)).as_deref(), Some(public), "{curve}");
            assert_eq!(group.public_half(secret, Some(other)), None, "{curve}");
            let padded = [&[0; 100], secret].concat();
            assert_eq!(group.public_half(&padded, None).as_deref(), Some(public), "{curve}");
        }
    }

    #[test]
    fn a_key_is_below_the_order() {
        // n of P-256, FIPS 186-5 and SP 800-186 section 3.2.1.3.
        let order = *b"\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\
            \xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51";
        let group = Group::of(&Curve::P256).unwrap();
        let mut last = order;
        last[31] -= 1;
        assert!(group.public_half(&last, None).is_some() && group.public_half(&[1], None).is_some());
        for secret in [&[][..], &[0], &[0; 32], &order, &[0xff; 32], &[1; 10_000]] {
            assert_eq!(group.public_half(secret, None), None, "{secret:?}");
        }
        let point = group.public_half(&[1], None).unwrap();
        assert!(group.has(&point) && !Group::of(&Curve::P384).unwrap().has(&point));
        let mut off = point.clone();
        off[64] ^= 1;
        for written in [&[][..], &[0], &[4], &point[..64], &off] {
            assert_eq!(group.public_half(&[1], Some(written)), None, "{written:?}");
            assert!(!group.has(written), "{written:?}");
        }
    }
}
