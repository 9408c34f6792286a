//! Chains at random: mostly good, with one thing or another wrong in some place. The same seed makes the same chains,
//! but for their keys.

use super::build::{Key, Parts, extension, name, sequence, wrap};

/// SplitMix64.
#[derive(Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    pub(crate) fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

/// A question to both verifiers.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) leaf: Vec<u8>,
    pub(crate) intermediates: Vec<Vec<u8>>,
    pub(crate) roots: Vec<Vec<u8>>,
    pub(crate) usage: &'static str,
    pub(crate) names: Vec<String>,
    pub(crate) time: i64,
    /// What was done to it.
    pub(crate) story: Vec<String>,
}

/// 2026-06-01T00:00:00Z.
const NOW: i64 = 1_780_272_000;

pub(crate) struct Generator {
    keys: Vec<Key>,
    random: Random,
    /// Most chains are made with few faults, so that many are accepted.
    calm: bool,
}

struct Ca {
    subject: Vec<u8>,
    key: usize,
    key_id: Option<Vec<u8>>,
}

const DNS: &[&str] = &[
    "kubernetes",
    "kubernetes.default.svc",
    "a.example.com",
    "b.example.com",
    "example.com",
    "*.example.com",
    "*.b.example.com",
    "etcd-0.etcd.kube-system",
    "a.example.com.",
    "under_score.example.com",
    "UPPER.Example.Com",
    "*",
    "",
    ".",
    "a..b",
    ".example.com",
    "10.96.0.1",
    "sub.*.example.com",
    "-x.example.com",
    "x y",
    "other.test",
    "deep.a.b.example.com",
    "example.com:80",
];
const IPS: &[&[u8]] = &[&[10, 96, 0, 1], &[127, 0, 0, 1], &[192, 168, 7, 9], &[10, 0, 0, 5], &[172, 16, 0, 1]];
const URIS: &[&str] = &[
    "spiffe://cluster.local/ns/a",
    "https://a.example.com/x",
    "https://example.com:443",
    "urn:x:y",
    "https://10.0.0.1/",
    "https://[::1]/",
    "https://[fe80::1%25eth0]:1/",
    "https://%zz/",
    "::",
    "https://a..b/",
    "https://B.Example.com",
    "http://user@other.test",
    "https://a:b:c/",
    "foo://a:b:1/",
    "a/b:c",
    "https://x y/",
    "https://example.com./",
    "https://%E4.example.com",
];
const EMAILS: &[&str] = &[
    "a@example.com",
    "A@EXAMPLE.com",
    "\"a b\"@example.com",
    "b@other.test",
    "nobody",
    "a@@b",
    "a..b@example.com",
    "a@b.example.com",
    "a@",
];
const PURPOSES: &[&[u8]] = &[
    &[6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1],
    &[6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2],
    &[6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 3],
    &[6, 4, 0x55, 0x1d, 37, 0],
    &[6, 3, 0x2a, 3, 4],
];
/// What name constraints say: a tag, and bytes.
const SUBTREES: &[(u8, &[u8])] = &[
    (0x82, b"example.com"),
    (0x82, b".example.com"),
    (0x82, b"b.example.com"),
    (0x82, b""),
    (0x82, b"kubernetes"),
    (0x82, b"svc"),
    (0x82, b"com"),
    (0x82, b"Example.COM"),
    (0x82, b"a..b"),
    (0x82, b"default.svc"),
    (0x82, b"x-example.com"),
    (0x82, b"example.com."),
    (0x87, &[10, 0, 0, 0, 255, 0, 0, 0]),
    (0x87, &[10, 96, 0, 7, 255, 255, 255, 0]),
    (0x87, &[10, 0, 0, 9, 255, 0, 0, 0]),
    (0x87, &[0, 0, 0, 0, 0, 0, 0, 0]),
    (0x87, &[192, 168, 0, 0, 255, 255, 0, 0]),
    (0x87, &[127, 0, 0, 0, 255, 0, 255, 0]),
    (0x87, &[1, 2, 3]),
    (0x87, &[0; 32]),
    (0x81, b"example.com"),
    (0x81, b"a@example.com"),
    (0x81, b".example.com"),
    (0x81, b"@"),
    (0x86, b"cluster.local"),
    (0x86, b".example.com"),
    (0x86, b"example.com"),
    (0x86, b"10.0.0.1"),
    (0xa4, &[0x30, 0]),
    (0x88, &[0x2a, 3]),
    (
        0x87,
        &[
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
            255, 255, 0, 0, 0,
        ],
    ),
];
const TIMES: &[(u8, &str)] = &[
    (0x17, "250101000000Z"),
    (0x17, "2501010000Z"),
    (0x17, "250101000000+0100"),
    (0x17, "250101000000+0000"),
    (0x18, "20250101000000Z"),
    (0x18, "20250101000000.5Z"),
    (0x18, "202501010000Z"),
    (0x17, "251301000000Z"),
    (0x17, "250230000000Z"),
    (0x17, "250101240000Z"),
    (0x17, "250101000060Z"),
    (0x18, "20500101000000Z"),
    (0x18, "00010101000000Z"),
    (0x17, "490101000000Z"),
    (0x17, "500101000000Z"),
    (0x17, "680101000000Z"),
    (0x17, "690101000000Z"),
    (0x18, "20250101000000-0730"),
    (0x18, "99991231235959Z"),
    (0x17, "2501010000+0100"),
    (0x16, "250101000000Z"),
    (0x17, "25010100000Z"),
    (0x18, "20250101000000"),
    (0x17, "520229000000Z"),
    (0x17, "500101003000+0100"),
    (0x18, "20250101000000,25Z"),
];

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        let mut keys: Vec<_> = std::iter::repeat_with(Key::p256).take(5).collect();
        keys.push(Key::ed25519());
        Self { keys, random: Random(seed), calm: false }
    }

    pub(crate) fn case(&mut self) -> Case {
        self.calm = self.random.percent(75);
        let mut story = Vec::new();
        let mut cas: Vec<Ca> = Vec::new();
        let (mut roots, mut intermediates) = (Vec::new(), Vec::new());
        let root_count = 1 + usize::from(self.random.percent(25));
        for _ in 0..root_count {
            let der = self.ca(&mut cas, true, &mut story);
            roots.push(der);
        }
        let between = self.random.pick(&[0, 0, 1, 1, 1, 2, 2, 3, 4, 6]);
        for _ in 0..between {
            let der = self.ca(&mut cas, false, &mut story);
            if self.random.percent(3) {
                roots.push(der);
            } else {
                intermediates.push(der);
            }
        }
        let leaf = self.leaf(&cas, &mut story);
        if self.fault(3) {
            story.push("an intermediate is missing".to_owned());
            intermediates.pop();
        }
        if self.random.percent(2) {
            story.push("the leaf is a root".to_owned());
            roots.push(leaf.clone());
        }
        let usage = self.random.pick(&["server", "server", "client", "any"]);
        let mut names = Vec::new();
        if self.random.percent(30) {
            names.push(match self.random.below(4) {
                0 => std::net::IpAddr::from(<[u8; 4]>::try_from(self.random.pick(IPS)).unwrap()).to_string(),
                1 => self
                    .random
                    .pick(&[
                        "10.96.0.1",
                        "[10.96.0.1]",
                        "::ffff:10.96.0.1",
                        "a.example.com",
                        "A.EXAMPLE.COM.",
                        "x.b.example.com",
                        "fd00::1",
                        "kubernetes.",
                    ])
                    .to_owned(),
                _ => self.random.pick(DNS).to_owned(),
            });
        }
        names.retain(|name| !name.is_empty());
        let time = NOW
            + if self.random.percent(3) {
                40_000_000 * (1 - 2 * i64::try_from(self.random.below(2)).unwrap())
            } else {
                0
            };
        Case { leaf, intermediates, roots, usage, names, time, story }
    }

    /// One of so many ways; of a calm chain nearly always the last one, which is the good one.
    fn way(&mut self, ways: usize) -> usize {
        let way = self.random.below(ways);
        if self.calm && !self.random.percent(10) { ways - 1 } else { way }
    }

    /// Like [`Random::percent`], for faults: in a calm chain a tenth as often.
    fn fault(&mut self, percent: u64) -> bool {
        self.random.percent(percent) && (!self.calm || self.random.percent(10))
    }

    /// A new CA, below one of those that there are, unless it is a root.
    fn ca(&mut self, cas: &mut Vec<Ca>, root: bool, story: &mut Vec<String>) -> Vec<u8> {
        let index = cas.len();
        // Some have a name that another has, too, with the same key or another.
        let twin = index > 0 && self.random.percent(12);
        let subject =
            if twin { cas[self.random.below(index)].subject.clone() } else { self.name(&format!("ca{index}")) };
        let key = if twin && self.random.percent(40) {
            cas[self.random.below(index)].key
        } else {
            self.random.below(self.keys.len())
        };
        let key_id = match self.way(10) {
            0 => None,
            1 => Some(vec![7; 20]),
            _ => Some(vec![u8::try_from(key).unwrap(); 20]),
        };
        let own = Ca { subject: subject.clone(), key, key_id: key_id.clone() };
        let last = index.saturating_sub(1);
        let by = if self.random.percent(80) { last } else { self.random.below(index.max(1)) };
        let issuer = if root || self.fault(4) { &own } else { &cas[by] };
        let mut parts = self.parts(&subject, key, issuer);
        let mut extensions = Vec::new();
        let constraints: &[u8] = match self.way(40) {
            0 => &[],
            1 => &[0x30, 0],
            2 => &[0x30, 3, 1, 1, 0],
            3 => &[0x30, 6, 1, 1, 0xff, 2, 1, 0],
            4 => &[0x30, 6, 1, 1, 0xff, 2, 1, 1],
            5 => &[0x30, 6, 1, 1, 0xff, 2, 1, 0xff],
            6 => &[0x30, 6, 1, 1, 0xff, 2, 1, 0x05],
            7 if self.random.percent(30) => &[0x30, 7, 1, 1, 0xff, 2, 2, 0, 1],
            8 if self.random.percent(30) => &[0x30, 3, 1, 1, 1],
            9 if self.random.percent(30) => &[0x30, 14, 1, 1, 0xff, 2, 9, 0, 0x80, 0, 0, 0, 0, 0, 0, 0],
            _ => &[0x30, 3, 1, 1, 0xff],
        };
        if !constraints.is_empty() {
            extensions.push(extension(19, self.random.percent(90), constraints));
        }
        match self.way(20) {
            0 => extensions.push(extension(15, true, &[3, 2, 7, 0x80])),
            1 => extensions.push(extension(15, true, &[3, 1, 0])),
            2..=4 => {}
            _ => extensions.push(extension(15, true, &[3, 2, 2, 0x84])),
        }
        extensions.extend(key_id.map(|id| extension(14, self.random.percent(1), &wrap(4, &[&id]))));
        if self.fault(15) {
            let value = self.name_constraints();
            extensions.push(extension(30, self.random.percent(70), &value));
        }
        if self.random.percent(12) {
            let san = self.alternative_names();
            extensions.push(extension(17, false, &san));
        }
        self.common(&mut extensions, issuer, 10);
        parts.extensions = extensions;
        let signer = if self.fault(2) { self.random.below(self.keys.len()) } else { issuer.key };
        let der = self.finish(parts, signer, story);
        cas.push(own);
        der
    }

    fn leaf(&mut self, cas: &[Ca], story: &mut Vec<String>) -> Vec<u8> {
        let issuer = if self.random.percent(92) { &cas[cas.len() - 1] } else { &cas[self.random.below(cas.len())] };
        let subject = if self.random.percent(5) { name(&[]) } else { self.name("leaf") };
        let key = self.random.below(self.keys.len());
        let mut parts = self.parts(&subject, key, issuer);
        let mut extensions = Vec::new();
        if self.random.percent(95) {
            let san = self.alternative_names();
            extensions.push(extension(17, self.random.percent(10), &san));
        }
        if self.random.percent(60) {
            extensions.push(extension(15, true, &[3, 2, 5, 0xa0]));
        }
        if self.random.percent(10) {
            extensions.push(extension(
                19,
                true,
                if self.random.percent(50) { &[0x30, 0] } else { &[0x30, 6, 1, 1, 0xff, 2, 1, 0] },
            ));
        }
        if self.random.percent(2) {
            let value = self.name_constraints();
            extensions.push(extension(30, true, &value));
        }
        self.common(&mut extensions, issuer, 60);
        parts.extensions = extensions;
        let signer = if self.fault(3) { self.random.below(self.keys.len()) } else { issuer.key };
        self.finish(parts, signer, story)
    }

    /// Extensions that CAs and leaves have alike.
    fn common(&mut self, extensions: &mut Vec<Vec<u8>>, issuer: &Ca, purposes: u64) {
        if let Some(id) = issuer.key_id.as_ref().filter(|_| self.random.percent(85)) {
            let id = if self.fault(5) { vec![9; 20] } else { id.clone() };
            extensions.push(extension(35, self.random.percent(1), &sequence(&[&wrap(0x80, &[&id])])));
        }
        if self.random.percent(purposes) {
            let count = self.random.pick(&[0, 1, 1, 2, 2, 2, 3]);
            let all: Vec<_> = match self.calm {
                true => PURPOSES[..2].to_vec(),
                false => (0..count)
                    .map(|_| if self.random.percent(50) { PURPOSES[0] } else { self.random.pick(PURPOSES) })
                    .collect(),
            };
            extensions.push(extension(37, self.random.percent(10), &sequence(&all)));
        }
        if self.random.percent(6) {
            let any: &[u8] = &[6, 4, 0x55, 0x1d, 32, 0];
            let policies: Vec<_> = (0..1 + self.random.below(3))
                .map(|_| sequence(&[self.random.pick(&[any, &[6, 2, 0x2a, 3], &[6, 2, 0x2a, 4]])]))
                .collect();
            extensions.push(extension(
                32,
                self.random.percent(30),
                &sequence(&policies.iter().map(Vec::as_slice).collect::<Vec<_>>()),
            ));
        }
        if self.fault(5) {
            let skip = u8::try_from(self.random.below(3)).unwrap();
            extensions.push(extension(36, self.random.percent(60), &sequence(&[&[0x80, 1, skip]])));
        }
        if self.random.percent(2) {
            extensions.push(extension(
                54,
                self.random.percent(60),
                &[2, 1, u8::try_from(self.random.below(3)).unwrap()],
            ));
        }
        if self.random.percent(2) {
            let to: &[u8] = self.random.pick(&[&[6, 2, 0x2a, 4], &[6, 4, 0x55, 0x1d, 32, 0]]);
            extensions.push(extension(33, self.random.percent(60), &sequence(&[&sequence(&[&[6, 2, 0x2a, 3], to])])));
        }
        if self.fault(2) {
            extensions.push(extension(99, self.random.percent(60), &[5, 0]));
        }
        if self.random.percent(2) {
            extensions.push(extension(
                31,
                false,
                &sequence(&[&sequence(&[&wrap(0xa0, &[&wrap(0xa0, &[&wrap(0x86, &[b"http://crl"])])])])]),
            ));
        }
        if self.random.percent(2) {
            let aia: &[u8] = &[6, 8, 0x2b, 6, 1, 5, 5, 7, 1, 1];
            let value =
                sequence(&[&sequence(&[&[6, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1], &wrap(0x86, &[b"http://ocsp"])])]);
            let critical: &[u8] = if self.random.percent(20) { &[1, 1, 0xff] } else { &[] };
            extensions.push(sequence(&[aia, critical, &wrap(4, &[&value])]));
        }
        if self.fault(1) && !extensions.is_empty() {
            extensions.push(self.random.pick(extensions));
        }
    }

    fn name(&mut self, common_name: &str) -> Vec<u8> {
        match self.way(12) {
            0 => name(&[(3, 0x13, common_name)]),
            1 => name(&[(10, 0x0c, "system:masters"), (3, 0x0c, common_name)]),
            2 => name(&[(3, 0x14, common_name)]),
            3 => name(&[(3, 0x16, common_name)]),
            4 if self.random.percent(10) => name(&[(3, 0x13, "under_score")]),
            5 if self.random.percent(10) => name(&[(3, 0x12, common_name)]),
            6 if self.random.percent(10) => name(&[(3, 0x1e, "odd")]),
            7 if self.random.percent(10) => name(&[(3, 0x04, common_name)]),
            8 if self.random.percent(20) => {
                sequence(&[&wrap(0x31, &[&sequence(&[&[6, 3, 0x55, 4, 3], &[0x1e, 4, 0xfd, 0xd0, 0, 0x41]])])])
            }
            _ => name(&[(3, 0x0c, common_name)]),
        }
    }

    fn parts(&mut self, subject: &[u8], key: usize, issuer: &Ca) -> Parts {
        let mut time = |good: &str| match self.fault(4) {
            true => {
                let (tag, text) = self.random.pick(TIMES);
                wrap(tag, &[text.as_bytes()])
            }
            false => wrap(0x17, &[good.as_bytes()]),
        };
        let (not_before, not_after) = (time("250101000000Z"), time("300101000000Z"));
        let serial = match self.way(50) {
            0 => vec![0],
            1 => vec![0x81],
            2 => vec![0x7f; 25],
            3 => vec![0, 1],
            4 => vec![0xff, 0x80],
            _ => self.random.next().to_be_bytes().iter().map(|byte| byte & 0x7f | 1).collect(),
        };
        let version: &[u8] = match self.way(100) {
            0 => &[],
            1 => &[0xa0, 3, 2, 1, 1],
            2 => &[0xa0, 3, 2, 1, 3],
            3 => &[0xa0, 3, 2, 1, 0],
            _ => &[0xa0, 3, 2, 1, 2],
        };
        let algorithm = self.keys[issuer.key].algorithm();
        let mut outer = algorithm.to_vec();
        let mut inner = outer.clone();
        match self.way(200) {
            0 => outer.extend([5, 0]),
            1 => inner = vec![6, 3, 0x2b, 0x65, 0x70],
            2 | 3 => {
                outer.extend([5, 0]);
                inner.extend([5, 0]);
            }
            _ => {}
        }
        let mut spki = self.keys[key].spki();
        match self.way(200) {
            // Another point, which is not on the curve; no point at all; another algorithm.
            0 => *spki.last_mut().unwrap() ^= 1,
            1 => spki.truncate(20),
            2 => spki[8] ^= 1,
            _ => {}
        }
        Parts {
            version: version.to_vec(),
            serial,
            inner_algorithm: inner,
            outer_algorithm: outer,
            issuer: issuer.subject.clone(),
            not_before,
            not_after,
            subject: subject.to_vec(),
            spki,
            extensions: Vec::new(),
        }
    }

    fn alternative_names(&mut self) -> Vec<u8> {
        let names: Vec<_> = (0..1 + self.random.below(4))
            .map(|_| match self.random.below(40) {
                0..=18 => wrap(0x82, &[self.random.pick(&DNS[..7]).as_bytes()]),
                19..=22 => wrap(0x82, &[self.random.pick(DNS).as_bytes()]),
                23..=29 => wrap(0x87, &[self.random.pick(IPS)]),
                30 => wrap(0x87, &[&[0; 10], &[255, 255], self.random.pick(IPS)]),
                31 => wrap(0x87, &[&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]]),
                32 => wrap(0x86, &[URIS[0].as_bytes()]),
                33 => wrap(0x86, &[self.random.pick(URIS).as_bytes()]),
                34 => wrap(0x81, &[EMAILS[0].as_bytes()]),
                35 => wrap(0x81, &[self.random.pick(EMAILS).as_bytes()]),
                36 => wrap(0x88, &[&[0x2a, 3]]),
                37 => wrap(0xa4, &[&name(&[(3, 0x0c, "x")])]),
                38 if self.random.percent(20) => wrap(0x87, &[&[1, 2, 3]]),
                39 if self.random.percent(20) => wrap(0x82, &[&[0xc3, 0xa4]]),
                _ => wrap(0x82, &[b"kubernetes"]),
            })
            .collect();
        sequence(&names.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    fn name_constraints(&mut self) -> Vec<u8> {
        let mut side = |tag: u8, percent: u64| {
            if !self.random.percent(percent) {
                return Vec::new();
            }
            let all: Vec<_> = (0..self.random.below(5))
                .map(|_| {
                    let (tag, value) = if self.random.percent(70) {
                        self.random.pick(&SUBTREES[..8])
                    } else {
                        self.random.pick(SUBTREES)
                    };
                    sequence(&[&wrap(tag, &[value])])
                })
                .collect();
            wrap(tag, &all.iter().map(Vec::as_slice).collect::<Vec<_>>())
        };
        let (permitted, excluded) = (side(0xa0, 60), side(0xa1, 45));
        sequence(&[&permitted, &excluded])
    }

    /// Signs it; in some cases with a byte changed, before or after.
    fn finish(&mut self, parts: Parts, signer: usize, story: &mut Vec<String>) -> Vec<u8> {
        let mut tbs = parts.tbs();
        if self.fault(6) {
            let (at, byte) =
                (self.random.below(tbs.len()), self.random.pick(&[0, 1, 0x7f, 0x80, 0xff, 0x30, 0x02, 0x06]));
            story.push(format!("byte {at} of what is signed was {:#04x}, is {byte:#04x}", tbs[at]));
            tbs[at] = byte;
        }
        let mut der = parts.sign(&tbs, &self.keys[signer]);
        if self.fault(1) {
            let at = self.random.below(der.len());
            story.push(format!("byte {at} of the certificate is changed"));
            der[at] ^= 1 << self.random.below(8);
        }
        if self.fault(1) {
            story.push("a byte more".to_owned());
            der.push(0);
        }
        der
    }
}
