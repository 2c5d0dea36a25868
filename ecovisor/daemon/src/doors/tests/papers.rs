//! Certificates as they should be and as they should not, for callers of a test site's TLS door.

use super::*;
use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};

/// What a caller shows, PEM.
pub struct Paper {
    cert: String,
    key: String,
}

/// The authority of a test site, and its door.
pub struct Papers {
    ca: String,
    ca_key: KeyPair,
    door: std::net::SocketAddr,
}

impl Papers {
    /// Those of a site that was planned with TLS.
    pub fn of(bench: &Bench) -> Self {
        let read = |name: &str| std::fs::read_to_string(bench.dir.path().join("ca").join(name)).unwrap();
        let ca_key = KeyPair::from_pem(&read("ca.key")).unwrap();
        Self { ca: read("ca.pem"), ca_key, door: bench.doors.tcp().unwrap() }
    }

    /// A client's certificate with these URIs.
    pub fn of_uris(&self, uris: &[&str]) -> Paper {
        self.signed(&self.ca_key, |params| {
            let uri = |uri: &&str| SanType::URI(Ia5String::try_from(*uri).unwrap());
            params.subject_alt_names = uris.iter().map(uri).collect();
        })
    }

    /// The operator's, by an authority that calls itself the same and has another key.
    pub fn of_another_authority(&self) -> Paper {
        self.signed(&KeyPair::generate().unwrap(), operator)
    }

    /// The operator's of last year.
    pub fn expired(&self) -> Paper {
        self.signed(&self.ca_key, |params| {
            operator(params);
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        })
    }

    /// The operator's name on a certificate that is for servers.
    pub fn of_a_server(&self) -> Paper {
        self.signed(&self.ca_key, |params| {
            operator(params);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        })
    }

    fn signed(&self, ca_key: &KeyPair, change: impl Fn(&mut CertificateParams)) -> Paper {
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.distinguished_name.push(DnType::CommonName, "site-1 ecovisor CA");
        let issuer = Issuer::from_params(&ca, ca_key);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "caller");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &issuer).unwrap();
        Paper { cert: cert.pem(), key: key.serialize_pem() }
    }

    /// Comes in with a certificate.
    pub async fn come(&self, paper: Paper) -> Result<Channel, String> {
        self.connect(self.tls().identity(TlsIdentity::from_pem(paper.cert, paper.key))).await
    }

    /// Comes in without one.
    pub async fn come_without(&self) -> Result<Channel, String> {
        self.connect(self.tls()).await
    }

    /// Comes in without TLS.
    pub async fn come_in_the_clear(&self) -> Result<Channel, String> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.door)).unwrap();
        endpoint.connect().await.map_err(kept_out)
    }

    fn tls(&self) -> ClientTlsConfig {
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.ca)).domain_name("localhost")
    }

    async fn connect(&self, tls: ClientTlsConfig) -> Result<Channel, String> {
        let endpoint = Endpoint::from_shared(format!("https://{}", self.door)).unwrap();
        endpoint.tls_config(tls).unwrap().connect().await.map_err(kept_out)
    }
}

fn kept_out(error: tonic::transport::Error) -> String {
    format!("kept out: {error:?}")
}

fn operator(params: &mut CertificateParams) {
    let uri = Ia5String::try_from("spiffe://site-1/operator").unwrap();
    params.subject_alt_names = vec![SanType::URI(uri)];
}
