//! A small certificate authority, so that mutual TLS can be tried in a minute: a CA, one certificate for the server, one
//! for the operator, one for each app. Sites with an authority of their own use that; the names are the same.

use crate::clock;
use crate::identity::{app_uri, operator_uri};
use anyhow::{Context as _, bail, ensure};
use ecovisor_core::AppName;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// How long the certificates hold, in days: long enough to try things, short enough that nobody builds on them unaware
/// (the CA/Browser Forum's baseline requirements, 6.3.2, allowed 398 days for years).
const DAYS: i64 = 397;

/// What a certificate is for.
enum Purpose {
    Server,
    Client,
}

/// A certificate with its key, PEM.
struct Pair {
    name: String,
    cert: String,
    key: String,
}

/// Makes a CA and its certificates in `dir`: `ca`, `server` (for `hosts`), `operator` and `app-<name>` for each app,
/// each with `.pem` and `.key`. Returns the files.
///
/// # Errors
/// Where a name does not fit, a file exists already (nothing is overwritten), or a file cannot be written.
pub fn make(dir: &Path, site: &str, apps: &[String], hosts: &[String]) -> anyhow::Result<Vec<PathBuf>> {
    ensure!(
        is_trust_domain(site),
        "a site that is named in certificates has only a-z, 0-9, -, _ and .: {site:?}"
    );
    ensure!(!hosts.is_empty(), "name at least one host under which the server is reached");
    let pairs = pairs(site, apps, hosts)?;
    let files =
        pairs.iter().flat_map(|pair| ["pem", "key"].map(|end| dir.join(format!("{}.{end}", pair.name))));
    let files: Vec<PathBuf> = files.collect();
    if let Some(there) = files.iter().find(|file| file.symlink_metadata().is_ok()) {
        bail!("{} exists already: remove it, or choose another directory", there.display());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot make {}", dir.display()))?;
    for pair in &pairs {
        write(&dir.join(format!("{}.pem", pair.name)), &pair.cert, 0o644)?;
        write(&dir.join(format!("{}.key", pair.name)), &pair.key, 0o600)?;
    }
    Ok(files)
}

/// SPIFFE-ID, 2.1: the characters of a trust domain.
fn is_trust_domain(site: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    (1..=255).contains(&site.len()) && site.chars().all(fits)
}

fn pairs(site: &str, apps: &[String], hosts: &[String]) -> anyhow::Result<Vec<Pair>> {
    let ca_key = KeyPair::generate()?;
    let mut ca = params(&format!("{site} ecovisor CA"))?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_cert = ca.self_signed(&ca_key)?;
    let ca_pair = Pair { name: "ca".into(), cert: ca_cert.pem(), key: ca_key.serialize_pem() };
    let issuer = Issuer::from_params(&ca, &ca_key);
    let mut pairs = vec![ca_pair, server(hosts, &issuer)?, client("operator", &operator_uri(site), &issuer)?];
    for app in apps {
        let Some(name) = AppName::new(app) else {
            bail!(
                "an app's name is 1 to 63 of a-z, 0-9 and -, beginning with a letter, not ending with -: {app:?}"
            );
        };
        pairs.push(client(&format!("app-{name}"), &app_uri(site, &name), &issuer)?);
    }
    Ok(pairs)
}

fn server(hosts: &[String], issuer: &Issuer<'_, &KeyPair>) -> anyhow::Result<Pair> {
    let mut names = Vec::new();
    for host in hosts {
        names.push(match host.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(
                Ia5String::try_from(host.as_str()).with_context(|| format!("host {host:?}"))?,
            ),
        });
    }
    signed("server", names, &Purpose::Server, issuer)
}

fn client(name: &str, uri: &str, issuer: &Issuer<'_, &KeyPair>) -> anyhow::Result<Pair> {
    signed(name, vec![SanType::URI(Ia5String::try_from(uri)?)], &Purpose::Client, issuer)
}

fn signed(
    name: &str,
    names: Vec<SanType>,
    purpose: &Purpose,
    issuer: &Issuer<'_, &KeyPair>,
) -> anyhow::Result<Pair> {
    let key = KeyPair::generate()?;
    let mut of = params(name)?;
    of.subject_alt_names = names;
    of.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    of.extended_key_usages = vec![match purpose {
        Purpose::Server => ExtendedKeyUsagePurpose::ServerAuth,
        Purpose::Client => ExtendedKeyUsagePurpose::ClientAuth,
    }];
    of.use_authority_key_identifier_extension = true;
    let cert = of.signed_by(&key, issuer)?;
    Ok(Pair { name: name.to_owned(), cert: cert.pem(), key: key.serialize_pem() })
}

/// Valid from yesterday, since clocks differ.
fn params(name: &str) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    let today = jiff::Timestamp::from_millisecond(i64::try_from(clock::wall_ms())?)?;
    let day = |days: i64| -> anyhow::Result<_> {
        let date = (today + jiff::SignedDuration::from_hours(24 * days))
            .to_zoned_datetime(jiff::tz::TimeZone::UTC)
            .date();
        let (month, day) = (u8::try_from(date.month())?, u8::try_from(date.day())?);
        Ok(date_time_ymd(i32::from(date.year()), month, day))
    };
    (params.not_before, params.not_after) = (day(-1)?, day(DAYS - 1)?);
    Ok(params)
}

fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let write = file.and_then(|mut file| file.write_all(text.as_bytes()));
    write.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn one_certificate_for_each_role_and_keys_that_only_their_owner_reads() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("ca");
        let files = make(&dir, "site-1", &strings(&["web"]), &strings(&["localhost", "127.0.0.1"])).unwrap();
        let names: Vec<_> =
            files.iter().map(|f| f.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        let all = "ca.pem ca.key server.pem server.key operator.pem operator.key app-web.pem app-web.key";
        assert_eq!(names.join(" "), all);
        for file in files {
            let mode = file.metadata().unwrap().permissions().mode() & 0o777;
            let is_key = file.extension().is_some_and(|end| end == "key");
            assert_eq!(mode & 0o077 == 0, is_key, "{} has {mode:o}", file.display());
        }
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("operator.key"), "precious").unwrap();
        let refused = make(dir.path(), "site", &[], &strings(&["localhost"])).unwrap_err();
        assert!(refused.to_string().contains("operator.key exists already"), "{refused}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_that_fit_no_certificate_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let check = |site: &str, apps: &[&str], hosts: &[&str]| {
            assert!(
                make(dir.path(), site, &strings(apps), &strings(hosts)).is_err(),
                "{site} {apps:?} {hosts:?}"
            );
        };
        check("A site", &[], &["localhost"]);
        check("", &[], &["localhost"]);
        check("site", &["Web"], &["localhost"]);
        check("site", &["web/../x"], &["localhost"]);
        check("site", &[], &[]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
