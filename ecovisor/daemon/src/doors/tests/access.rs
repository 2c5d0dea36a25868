//! Who may call what: every cell of docs/access.md, as every caller it names, over the real doors.

use super::papers::Papers;
use super::*;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use std::collections::BTreeSet;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_prost::ProstCodec;

const PAGE: &str = include_str!("../../../../../docs/access.md");

/// A user whom the operator has named.
const NAMED: u32 = 54_330;
/// The group whose members operate the site.
const OPERATORS: u32 = 54_331;
/// The user who owns `one`.
const OWNER: u32 = 54_332;
/// The user who owns `two` and `three`.
const OWNER_OF_TWO: u32 = 54_333;

/// How long a call may take until its answer begins. The engine of these tests leaves a reload unanswered, which is as
/// good as an answer here: it was asked.
const PATIENCE: Duration = Duration::from_millis(300);

/// The rows of a table of the page, each cell as it reads without marks.
fn table(header: &str) -> Vec<Vec<String>> {
    let rows = PAGE.lines().skip_while(|line| !line.starts_with(header)).skip(2);
    let cells = |row: &str| {
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().replace('`', "")).collect()
    };
    rows.take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// Every method of every service behind the doors, by what the services say of themselves.
fn methods() -> BTreeSet<String> {
    let sets = [
        ecovisor_proto::FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let mut methods = BTreeSet::new();
    for file in sets.iter().flat_map(|set| FileDescriptorSet::decode(*set).unwrap().file) {
        for service in &file.service {
            let of = |name: &str| format!("{}.{}/{name}", file.package(), service.name());
            methods.extend(service.method.iter().map(|method| of(method.name())));
        }
    }
    methods
}

/// What becomes of an empty message to a method, in the page's words.
async fn cell(channel: &Channel, method: &str) -> String {
    let path: PathAndQuery = format!("/{method}").parse().unwrap();
    let call = async {
        let mut client = Grpc::new(channel.clone());
        let request = Request::new(tokio_stream::once(()));
        client.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let answers = client.streaming(request, path, ProstCodec::<(), ()>::default()).await?;
        answers.into_inner().message().await
    };
    let Ok(answer) = tokio::time::timeout(PATIENCE, call).await else { return "yes".into() };
    let Err(status) = answer else { return "yes".into() };
    let (code, reason) = refusal(&status);
    match (code, reason.as_str()) {
        (Code::PermissionDenied, "REASON_NOT_ALLOWED") => "no".into(),
        (Code::Unimplemented, "") => "unknown".into(),
        (_, reason) if reason.starts_with("REASON_") => "yes".into(),
        // What is not ours to word: reflection refuses an empty question, health a service it does not know.
        (Code::InvalidArgument | Code::NotFound, "") => "yes".into(),
        _ => format!("kept out: {status}"),
    }
}

/// Two sites, since who may connect to the operator's socket depends on whether somebody is named.
struct Scene {
    open: Bench,
    closed: Bench,
    papers: Papers,
}

impl Scene {
    async fn new() -> Self {
        let plan = Plan {
            operator_uids: vec![NAMED],
            operator_gid: is_root().then_some(OPERATORS),
            tls: true,
            ..Plan::default()
        };
        let open = Bench::planned(plan).await;
        let owned = |app: &str, uid| {
            let mut request = create(app);
            let spec = request.spec.as_mut().unwrap();
            (spec.owner_uid, spec.share) = (Some(uid), Some(v1::AppShare::default()));
            request
        };
        let mut operator = open.operator().await;
        for (app, uid) in [("one", OWNER), ("two", OWNER_OF_TWO), ("three", OWNER_OF_TWO)] {
            operator.create_app(owned(app, uid)).await.unwrap();
            open.until_socket(app).await;
        }
        let papers = Papers::of(&open);
        Self { open, closed: Bench::new().await, papers }
    }

    /// Comes in as a caller of the page; `None` where that takes root.
    async fn come(&self, caller: &str) -> Option<Result<Channel, String>> {
        let (open, papers) = (&self.open, &self.papers);
        let operators = || open.paths.operator_socket();
        let tls = async |certificate| papers.come(certificate).await;
        let other = |who| who;
        let came = match caller {
            "ecovisor.sock, root or the daemon's own user" => unix(operators(), None).await,
            "TLS, spiffe://<site>/operator" => tls(papers.of_uris(&["spiffe://site-1/operator"])).await,
            "TLS, spiffe://<site>/app/<name>" => tls(papers.of_uris(&["spiffe://site-1/app/web"])).await,
            "TLS, an app that the site does not have" => {
                tls(papers.of_uris(&["spiffe://site-1/app/ghost"])).await
            }
            "TLS, the operator of another site" => tls(papers.of_uris(&["spiffe://site-2/operator"])).await,
            "TLS, a certificate without a URI" => tls(papers.of_uris(&[])).await,
            "TLS, a certificate with two URIs" => {
                tls(papers.of_uris(&["spiffe://site-1/operator", "spiffe://site-1/app/web"])).await
            }
            "TLS, a certificate of another authority" => tls(papers.of_another_authority()).await,
            "TLS, an expired certificate" => tls(papers.expired()).await,
            "TLS, a server's certificate" => tls(papers.of_a_server()).await,
            "TLS, no certificate" => papers.come_without().await,
            "TCP without TLS" => papers.come_in_the_clear().await,
            "app/<name>.sock, root or the daemon's own user" => unix(open.socket("web"), None).await,
            _ if !is_root() => return None,
            "ecovisor.sock, a user of operator.uids" => unix(operators(), Some((NAMED, NAMED))).await,
            "ecovisor.sock, a member of operator.gid" => unix(operators(), Some((STRANGER, OPERATORS))).await,
            "ecovisor.sock, a user who owns one app" => unix(operators(), Some((OWNER, OWNER))).await,
            "ecovisor.sock, a user who owns several apps" => {
                unix(operators(), Some((OWNER_OF_TWO, OWNER_OF_TWO))).await
            }
            "ecovisor.sock, any other user, where operator.uids names somebody" => {
                unix(operators(), Some((STRANGER, STRANGER))).await
            }
            "ecovisor.sock, any other user, where nobody is named" => {
                unix(self.closed.paths.operator_socket(), Some((STRANGER, STRANGER))).await
            }
            "app/<name>.sock, the app's owner" => unix(open.socket("one"), Some((OWNER, OWNER))).await,
            "app/<name>.sock, any other user" => unix(open.socket("web"), Some((STRANGER, STRANGER))).await,
            "app/<name>.sock, any other user, its mode widened by hand" => {
                let socket = open.socket("db");
                std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
                unix(socket, Some((STRANGER, STRANGER))).await
            }
            unknown => panic!("docs/access.md names a caller whom this test cannot be: {}", other(unknown)),
        };
        Some(came)
    }
}

async fn unix(socket: std::path::PathBuf, user: Option<(u32, u32)>) -> Result<Channel, String> {
    channel_as(socket, user).await.map_err(|error| format!("kept out: {error}"))
}

/// The column of a role in the table of methods; `None` for whoever is kept out of every one.
fn column(role: &str) -> Option<usize> {
    match role {
        "operator" => Some(1),
        "app" => Some(2),
        "nobody" => Some(3),
        "kept out" => None,
        unknown => panic!("docs/access.md knows no role {unknown:?}"),
    }
}

#[test]
fn every_method_has_a_row() {
    let rows: BTreeSet<String> = table("| method |").into_iter().map(|row| row[0].clone()).collect();
    let missing: Vec<_> = methods().difference(&rows).cloned().collect();
    assert!(
        missing.is_empty(),
        "docs/access.md does not say who may call {missing:?}: add a row to its table of methods, \
         `| `<service>/<method>` | operator | app | nobody | of what |`; the walk beside this test then tries it"
    );
    let gone: Vec<_> = rows
        .difference(&methods())
        .filter(|row| !row.contains("o.such") && !row.contains("NoSuch"))
        .cloned()
        .collect();
    assert!(gone.is_empty(), "docs/access.md has rows of methods that are no more: {gone:?}");
}

#[tokio::test]
async fn every_cell_of_the_table_is_as_it_says() {
    let scene = Scene::new().await;
    let (callers, methods) = (table("| caller |"), table("| method |"));
    assert!(callers.len() >= 22 && methods.len() >= 40, "{} x {}", callers.len(), methods.len());
    let (mut cells, mut wrong) = (0, Vec::new());
    for caller in &callers {
        let Some(came) = scene.come(&caller[0]).await else {
            println!("skipped in part, because only root can become another user: {}", caller[0]);
            continue;
        };
        for row in &methods {
            let expected = column(&caller[1]).map_or("kept out", |column| row[column].as_str());
            let is = match &came {
                Ok(channel) => cell(channel, &row[0]).await,
                Err(kept_out) => kept_out.clone(),
            };
            cells += 1;
            if !is.starts_with(expected) {
                wrong.push(format!("{} -> {}: {is}, not {expected}", caller[0], row[0]));
            }
        }
    }
    println!("{cells} cells");
    assert!(wrong.is_empty(), "{} of {cells} cells:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn who_has_no_name_and_asks_is_told_of() {
    let scene = Scene::new().await;
    let nobody = scene.papers.come(scene.papers.of_uris(&["spiffe://site-2/operator"])).await.unwrap();
    let is = cell(&nobody, "ecovisor.v1.OperatorService/GetSite").await;
    assert_eq!(is, "no");
    let denied = scene.open.denied.lock().unwrap().clone();
    let told = "gate: /ecovisor.v1.OperatorService/GetSite: the certificate names spiffe://site-2/operator, not \
                spiffe://site-1/operator or spiffe://site-1/app/<name>";
    assert_eq!(denied, [told]);
    // Health is anybody's, and nothing to tell of.
    assert_eq!(cell(&nobody, "grpc.health.v1.Health/Check").await, "yes");
    assert_eq!(scene.open.denied.lock().unwrap().len(), 1);
}
