//! Certificates made by rcgen and by OpenSSL, read and judged.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};

use super::*;

const NOW_S: i64 = 1_900_000_000;

/// Made for this test by `openssl req -x509` without extensions: a certificate of version 1.
const VERSION_1: &str = include_str!("version_1.pem");

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(
    name: &str,
    by: Option<&CertifiedIssuer<'static, KeyPair>>,
) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().unwrap();
    match by {
        None => CertifiedIssuer::self_signed(params, key).unwrap(),
        Some(by) => CertifiedIssuer::signed_by(params, key, by).unwrap(),
    }
}

fn leaf(by: &CertifiedIssuer<'static, KeyPair>, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = params("leaf");
    params.serial_number = Some(SerialNumber::from(7u64));
    change(&mut params);
    params.signed_by(&KeyPair::generate().unwrap(), by).unwrap().der().to_vec()
}

fn check(
    roots: &[&[u8]],
    chain: &[&[u8]],
    depth_max: usize,
    revoked: Vec<RevocationList>,
) -> Result<(), u32> {
    let mut all = Authorities::default();
    roots.iter().for_each(|it| assert!(all.add(it)));
    let rules = Rules { purpose: Purpose::Client, depth_max, revoked };
    all.verify(chain, &rules, NOW_S, || false).map_err(|it| it.code)
}

#[test]
fn a_chain_must_lead_to_an_authority() {
    let (root, stranger) = (authority("root", None), authority("stranger", None));
    let between = authority("between", Some(&root));
    let (near, far) = (leaf(&root, |_| {}), leaf(&between, |_| {}));
    let (root_der, between_der) = (root.der().as_ref(), between.der().as_ref());
    assert_eq!(check(&[root_der], &[&near], 1, vec![]), Ok(()));
    assert_eq!(check(&[root_der], &[&far, between_der], 1, vec![]), Ok(()));
    assert_eq!(check(&[root_der, between_der], &[&far], 1, vec![]), Ok(()));
    assert_eq!(check(&[root_der], &[&far], 1, vec![]), Err(21));
    assert_eq!(check(&[root_der], &[&far, between_der], 0, vec![]), Err(20));
    assert_eq!(check(&[stranger.der()], &[&near], 1, vec![]), Err(21));
    assert_eq!(check(&[stranger.der()], &[&far, between_der, root_der], 9, vec![]), Err(19));
    assert_eq!(check(&[between_der], &[&far], 1, vec![]), Err(2));
    let alone = params("alone").self_signed(&KeyPair::generate().unwrap()).unwrap();
    assert_eq!(check(&[], &[alone.der()], 1, vec![]), Err(18));
    assert_eq!(check(&[alone.der()], &[alone.der()], 1, vec![]), Ok(()));
    assert_eq!(check(&[root_der], &[], 1, vec![]), Err(1));
    // The name alone is not enough.
    let mimic = authority("root", None);
    assert!(check(&[root_der], &[&leaf(&mimic, |_| {})], 1, vec![]).is_err());
}

#[test]
fn what_is_broken_expired_or_for_another_purpose_is_refused() {
    let root = authority("root", None);
    let try_one = |der: &[u8]| check(&[root.der()], &[der], 1, vec![]);
    assert_eq!(try_one(&leaf(&root, |it| it.not_after = date_time_ymd(2020, 1, 1))), Err(10));
    assert_eq!(try_one(&leaf(&root, |it| it.not_before = date_time_ymd(2040, 1, 1))), Err(9));
    let server = |it: &mut CertificateParams| {
        it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    assert_eq!(try_one(&leaf(&root, server)), Err(26));
    let client = |it: &mut CertificateParams| {
        it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        it.use_authority_key_identifier_extension = true;
        it.key_identifier_method = KeyIdMethod::Sha256;
    };
    assert_eq!(try_one(&leaf(&root, client)), Ok(()));
    let mut broken = leaf(&root, |_| {});
    let last = broken.len() - 1;
    broken[last] ^= 1;
    assert_eq!(try_one(&broken), Err(7));
    // A leaf is no authority.
    let between = leaf(&root, |it| it.is_ca = IsCa::ExplicitNoCa);
    let mut params = params("under");
    params.is_ca = IsCa::NoCa;
    let key = KeyPair::generate().unwrap();
    let issuer = rcgen::Issuer::from_params(&params, &key);
    let under = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    assert!(check(&[root.der()], &[under.der(), &between], 5, vec![]).is_err());
}

#[test]
fn revoked_certificates_are_refused() {
    let root = authority("root", None);
    let list = |serial: u64, until: i32| {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        RevocationList::parse(params.signed_by(&root).unwrap().der()).unwrap()
    };
    let der = leaf(&root, |_| {});
    assert_eq!(check(&[root.der()], &[&der], 1, vec![list(8, 2050)]), Ok(()));
    assert_eq!(check(&[root.der()], &[&der], 1, vec![list(7, 2050)]), Err(23));
    assert_eq!(check(&[root.der()], &[&der], 1, vec![list(8, 2021)]), Err(12));
    let other = authority("other", None);
    let theirs = leaf(&other, |_| {});
    assert_eq!(check(&[root.der(), other.der()], &[&theirs], 1, vec![list(8, 2050)]), Err(3));
}

#[test]
fn certificates_are_taken_apart() {
    let root = authority("root", None);
    let der = leaf(&root, |it| {
        it.subject_alt_names = vec![rcgen::SanType::DnsName("*.example.com".try_into().unwrap())];
        it.not_after = date_time_ymd(2050, 1, 2);
    });
    let cert = Certificate::parse(&der).unwrap();
    assert_eq!((cert.subject.rfc2253(), cert.issuer.rfc2253()), ("CN=leaf".into(), "CN=root".into()));
    assert_eq!((cert.serial(), cert.not_after.to_string()), ("07".into(), "Jan  2 00:00:00 2050 GMT".into()));
    let is_for = |name: &'static str| cert.is_for(&rustls::pki_types::ServerName::try_from(name).unwrap());
    assert!(is_for("a.example.com") && !is_for("leaf") && !is_for("example.com"));
    for end in 0..der.len() {
        assert!(Certificate::parse(&der[..end]).is_none());
    }
    for at in 0..der.len() {
        let mut changed = der.clone();
        changed[at] ^= 0x21;
        if let Some(cert) = Certificate::parse(&changed) {
            let _ = (cert.subject.rfc2253(), cert.issuer.oneline(), cert.serial(), cert.not_after.unix_s());
            let _ = check(&[root.der()], &[&changed], 1, vec![]);
        }
    }
}

#[test]
fn version_1_is_read_too() {
    let chain = crate::tls::certs::chain(VERSION_1.as_bytes()).unwrap();
    let cert = Certificate::parse(&chain[0]).unwrap();
    assert_eq!((cert.version, cert.subject.oneline()), (1, "/CN=localhost".to_string()));
    assert_eq!(check(&[&chain[0]], &[&chain[0]], 1, vec![]), Ok(()));
}
