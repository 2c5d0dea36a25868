//! What the operator does, and what of past and future is told.

use super::*;

#[tokio::test]
async fn usage_adds_up_over_buckets_and_containers() {
    let bench = Bench::new().await;
    let mut web = bench.app("web").await;
    for name in ["a", "b"] {
        web.attach_container(this_process(name)).await.unwrap();
    }
    for _ in 0..5 {
        bench.tick().await;
    }
    let request = v1::QueryUsageRequest { t1_ms: 0, t2_ms: None, step_ms: 2_000, by_container: true };
    let buckets = web.query_usage(request).await.unwrap().into_inner().buckets;
    let bounds: Vec<_> = buckets.iter().map(|b| (b.start_ms - START_MS, b.length_ms, b.settled_ms)).collect();
    // The apps hold from tick 1, so tick 0 is not theirs.
    assert_eq!(bounds, [(0, 2_000, 1_000), (2_000, 2_000, 2_000), (4_000, 1_000, 1_000)]);
    let bucket = &buckets[1];
    assert_eq!(bucket.load_uj, 4 * LOAD_UJ);
    let sources =
        bucket.solar_uj + bucket.battery_uj + bucket.grid_uj + bucket.received_uj + bucket.overdraft_uj;
    assert_eq!(sources, bucket.load_uj);
    let parts: Vec<_> = bucket.containers.iter().map(|c| (c.container.as_str(), c.energy_uj)).collect();
    assert_eq!(parts, [("a", 2 * LOAD_UJ), ("b", 2 * LOAD_UJ)]);
    // 13 J of grid in each of two ticks at 360 g/kWh are 2.6 mg.
    assert_eq!((bucket.grid_uj, bucket.carbon_mg), (26_000_000, 2));
    assert_eq!(bucket.carbon_product, (26_000_000_u128 * 360_000).to_string());
    assert_eq!(bucket.containers[0].carbon_mg, 1);
    let empty = v1::QueryUsageRequest { t1_ms: 5, t2_ms: Some(5), ..v1::QueryUsageRequest::default() };
    refused(web.query_usage(empty).await, Code::InvalidArgument, "REASON_PERIOD_OUT_OF_RANGE");
    let fine =
        v1::QueryUsageRequest { t2_ms: Some(START_MS * 2), step_ms: 1, ..v1::QueryUsageRequest::default() };
    refused(web.query_usage(fine).await, Code::InvalidArgument, "REASON_PERIOD_OUT_OF_RANGE");
    let query = v1::QueryUsageRequest { by_container: false, step_ms: 0, ..request };
    let same = v1::QueryAppUsageRequest { app: "web".into(), query: Some(query) };
    let whole = bench.operator().await.query_app_usage(same).await.unwrap().into_inner().buckets;
    let sum: u64 = buckets.iter().map(|bucket| bucket.load_uj).sum();
    assert_eq!((whole.len(), whole[0].load_uj), (1, sum));
}

#[tokio::test]
async fn the_ledger_is_queried_exported_and_verified() {
    let bench = Bench::new().await;
    for _ in 0..4 {
        bench.tick().await;
    }
    let mut operator = bench.operator().await;
    let request =
        v1::QueryLedgerRequest { from_tick: Some(1), to_tick: Some(3), app: Some("web".into()), rows_max: 0 };
    let rows = operator.query_ledger(request).await.unwrap().into_inner();
    let rows: Vec<_> = rows.map(Result::unwrap).collect().await;
    assert_eq!(rows.iter().map(|row| row.tick).collect::<Vec<_>>(), [1, 2]);
    let bounded = v1::QueryLedgerRequest { rows_max: 5, ..v1::QueryLedgerRequest::default() };
    assert_eq!(operator.query_ledger(bounded).await.unwrap().into_inner().collect::<Vec<_>>().await.len(), 5);
    let export = v1::ExportLedgerRequest { rows: true, journal: true, ..v1::ExportLedgerRequest::default() };
    let pieces = operator.export_ledger(export).await.unwrap().into_inner();
    let pieces: Vec<_> = pieces.map(|piece| piece.unwrap().piece.unwrap()).collect().await;
    use v1::export_ledger_reply::Piece;
    let (mut snapshot, mut journal, mut rows) = (Vec::new(), Vec::new(), 0);
    for piece in pieces {
        match piece {
            Piece::Snapshot(part) => snapshot.extend(part),
            Piece::JournalEntry(entry) => journal.push(ecovisor_audit::Linked::decode(&entry).unwrap()),
            Piece::Row(_) => rows += 1,
        }
    }
    let checkpoint = ecovisor_audit::Checkpoint::decode(&snapshot).unwrap();
    let entries = journal.into_iter().map(Ok::<_, ()>);
    let records: Option<Vec<Result<_, ()>>> = None;
    let report = ecovisor_audit::verify::verify(checkpoint, entries, records).unwrap();
    assert_eq!((report.ticks, report.fault), (4, None));
    // House and the site in the first tick, two apps more in the others.
    assert_eq!(rows, 2 + 3 * 4);
    let verified = operator.verify_ledger(v1::VerifyLedgerRequest::default()).await.unwrap().into_inner();
    assert!(verified.holds, "{verified:?}");
    assert_eq!((verified.ticks, verified.to_tick, verified.head.len()), (4, 4, 32));
    assert_eq!(verified.head, report.head.bytes());
    let neither = operator.export_ledger(v1::ExportLedgerRequest::default()).await;
    refused(neither, Code::InvalidArgument, "REASON_INVALID");
    let none = v1::VerifyLedgerRequest { from_tick: Some(3), to_tick: Some(3) };
    refused(operator.verify_ledger(none).await, Code::InvalidArgument, "REASON_PERIOD_OUT_OF_RANGE");
}

#[tokio::test]
async fn an_app_is_tried_admitted_shown_and_deleted() {
    let bench = Bench::new().await;
    let mut operator = bench.operator().await;
    let mut request = create("new");
    let small = v1::AppShare { grid_limit_mw: 5_000, ..share() };
    request.spec.as_mut().unwrap().share = Some(small);
    let dry = v1::CreateAppRequest { dry_run: true, ..request.clone() };
    let tried = operator.create_app(dry).await.unwrap().into_inner();
    assert_eq!((tried.holds_from_tick, tried.app), (None, None));
    let free = tried.free.unwrap();
    // 100 W less twice 40 W and once 5 W; 1 kJ less three times 100 J.
    assert_eq!(
        (free.grid_limit_mw, free.battery_capacity_uj, free.solar_weight_total),
        (15_000, 700_000_000, 3)
    );
    let ghost = operator.show_app(v1::ShowAppRequest { app: "new".into() }).await;
    refused(ghost, Code::NotFound, "REASON_UNKNOWN_APP");
    let made = operator.create_app(request).await.unwrap().into_inner();
    assert_eq!((made.holds_from_tick, made.free.unwrap()), (Some(1), free));
    let shown = operator.show_app(v1::ShowAppRequest { app: "new".into() }).await.unwrap().into_inner();
    assert_eq!(shown.socket, bench.socket("new").display().to_string());
    assert_eq!(shown.spec.unwrap().owner_uid, Some(rustix::process::geteuid().as_raw()));
    let deleted = operator.delete_app(v1::DeleteAppRequest { app: "new".into(), dry_run: false }).await;
    let deleted = deleted.unwrap().into_inner();
    assert_eq!((deleted.holds_from_tick, deleted.app, deleted.to_house_uj), (Some(1), None, 0));
}

#[tokio::test]
async fn what_exceeds_the_site_is_refused_with_what_is_free() {
    let bench = Bench::new().await;
    let mut operator = bench.operator().await;
    let status =
        refused(operator.create_app(create("third")).await, Code::FailedPrecondition, "REASON_EXCEEDS_FREE");
    let info = status.get_details_error_info().unwrap();
    let figures = ["limit", "acceptable", "unit"].map(|key| info.metadata.get(key).cloned().unwrap());
    assert_eq!(figures, ["20000", "20000", "mw"]);
    refused(operator.create_app(create("web")).await, Code::AlreadyExists, "REASON_APP_TAKEN");
    refused(operator.create_app(create("Web")).await, Code::InvalidArgument, "REASON_INVALID");
    let house = v1::DrainAppRequest { app: "house".into(), dry_run: false };
    refused(operator.drain_app(house).await, Code::InvalidArgument, "REASON_INVALID");
    let ghost = v1::ShowAppRequest { app: "ghost".into() };
    refused(operator.show_app(ghost).await, Code::NotFound, "REASON_UNKNOWN_APP");
}

#[tokio::test]
async fn a_share_change_tells_what_passes_to_the_house_before_it_does() {
    let bench = Bench::new().await;
    for _ in 0..3 {
        bench.tick().await;
    }
    let mut operator = bench.operator().await;
    // 10 J are stored; a battery of 4 J leaves 6 J to the house.
    let smaller = v1::AppShare { battery_capacity_uj: 4_000_000, ..share() };
    let change = |dry_run| v1::ChangeShareRequest { app: "web".into(), share: Some(smaller), dry_run };
    let tried = operator.change_share(change(true)).await.unwrap().into_inner();
    assert_eq!((tried.holds_from_tick, tried.to_house_uj), (None, 6_000_000));
    assert!(tried.app.is_none());
    let list = operator.list_apps(v1::ListAppsRequest {}).await.unwrap().into_inner().apps;
    let names: Vec<_> = list.iter().map(|app| app.name.as_str()).collect();
    assert_eq!(names, ["web", "db", "house"]);
    assert_eq!(list[0].spec.as_ref().unwrap().share, Some(share()), "a dry run changes nothing");
    let done = operator.change_share(change(false)).await.unwrap().into_inner();
    assert_eq!((done.holds_from_tick, done.to_house_uj), (Some(4), 6_000_000));
    assert_eq!(done.app.unwrap().spec.unwrap().share, Some(smaller));
    let drained =
        operator.drain_app(v1::DrainAppRequest { app: "web".into(), dry_run: false }).await.unwrap();
    assert_eq!(drained.into_inner().holds_from_tick, Some(4));
    bench.tick().await;
    let answer = bench.app("web").await.set_battery_charge_rate(rate(1)).await;
    refused(answer, Code::FailedPrecondition, "REASON_DRAINING");
}

#[tokio::test]
async fn policies_changed_twice_in_a_tick_keep_both_changes() {
    let bench = Bench::new().await;
    let mut operator = bench.operator().await;
    let set = |redistribute, export| v1::SetPoliciesRequest { redistribute, export, shortfall: 0 };
    operator.set_policies(set(Some(true), None)).await.unwrap();
    let both = operator.set_policies(set(None, Some(true))).await.unwrap().into_inner();
    let policies = both.policies.unwrap();
    assert_eq!((both.holds_from_tick, policies.redistribute, policies.export), (1, true, true));
    bench.tick().await;
    let now = operator.get_policies(v1::GetPoliciesRequest {}).await.unwrap().into_inner();
    assert_eq!((now.redistribute, now.export), (true, true));
    let shortfall = v1::SetPoliciesRequest {
        shortfall: v1::Shortfall::Freeze.into(),
        ..v1::SetPoliciesRequest::default()
    };
    refused(operator.set_policies(shortfall).await, Code::Unimplemented, "REASON_NOT_SUPPORTED");
}

#[tokio::test]
async fn the_operator_sets_and_attaches_for_an_app() {
    let bench = Bench::new().await;
    let mut operator = bench.operator().await;
    let setter = Some(v1::Setter { set: Some(Set::BatteryChargeRate(rate(5))) });
    let applied = operator.apply_setter(v1::ApplySetterRequest { app: "web".into(), setter }).await.unwrap();
    assert_eq!(applied.into_inner().holds_from_tick, 1);
    let nothing = v1::ApplySetterRequest { app: "web".into(), setter: None };
    refused(operator.apply_setter(nothing).await, Code::InvalidArgument, "REASON_INVALID");
    let attach = v1::AttachAppContainerRequest { app: "web".into(), attach: Some(this_process("me")) };
    operator.attach_app_container(attach).await.unwrap();
    let list =
        operator.list_app_containers(v1::ListAppContainersRequest { app: "web".into() }).await.unwrap();
    assert_eq!(list.into_inner().containers[0].name, "me");
    let detach = v1::DetachAppContainerRequest { app: "web".into(), name: "me".into() };
    operator.detach_app_container(detach).await.unwrap();
}

#[tokio::test]
async fn the_operator_sees_the_site_its_devices_and_its_configuration() {
    let bench = Bench::new().await;
    let mut operator = bench.operator().await;
    let before = operator.get_site(v1::GetSiteRequest {}).await.unwrap().into_inner();
    assert!(before.last.is_none());
    let mut ticks = operator.watch_site(v1::WatchSiteRequest {}).await.unwrap().into_inner();
    bench.tick().await;
    bench.tick().await;
    let (first, second) = (ticks.next().await.unwrap().unwrap(), ticks.next().await.unwrap().unwrap());
    assert_eq!((first.tick, first.apps.len(), second.apps.len()), (0, 1, 3));
    let solar = second.site.unwrap().solar.unwrap();
    assert_eq!((solar.booked_uj, solar.metered_uj), (10_000_000, Some(10_000_000)));
    let site = operator.get_site(v1::GetSiteRequest {}).await.unwrap().into_inner();
    assert_eq!(site.last.unwrap().tick, 1);
    assert_eq!(site.capacity.unwrap().battery_capacity_uj, 1_000_000_000);
    assert_eq!(site.free.unwrap().grid_limit_mw, 20_000);
    let devices = operator.list_devices(v1::ListDevicesRequest {}).await.unwrap().into_inner().devices;
    assert_eq!(devices.iter().map(|device| device.name.as_str()).collect::<Vec<_>>(), ["roof", "caps"]);
    let config = operator.get_config(v1::GetConfigRequest {}).await.unwrap().into_inner();
    assert_eq!((config.toml.as_str(), config.loaded_ms), ("[site]", 7));
    let reloaded = operator.reload_config(v1::ReloadConfigRequest { dry_run: true }).await.unwrap();
    assert_eq!(reloaded.into_inner().holds_from_tick, None);
}

struct Noon;

impl ForecastSource for Noon {
    fn told(&self, of: Quantity) -> Option<Told> {
        (of == Quantity::Solar).then(|| Told {
            source: "trace".into(),
            issued_at_ms: Some(7),
            step_ms: 1_000,
            rests_on: "trace",
            look: Box::new(Noon),
        })
    }
    fn errors(&self, of: Quantity) -> Vec<(String, Vec<LeadError>)> {
        let lead = LeadError { lead_hours: 3, pairs: 9, mae: 40.0, bias: -20.0, coverage: 0.75 };
        if of == Quantity::Solar { vec![("clear-sky".into(), vec![lead])] } else { vec![] }
    }
}

impl Look for Noon {
    fn at(&self, utc_ms: u64) -> Option<Quantiles> {
        let middle = ecovisor_forecast::float(2 * (utc_ms - START_MS));
        let quantiles = Quantiles { p10: middle / 2.0, p50: middle, p90: middle * 2.0 };
        (utc_ms < START_MS + 4_000).then_some(quantiles)
    }
    fn quantile(&self, utc_ms: u64, _: f64) -> Option<f64> {
        self.at(utc_ms).map(|quantiles| quantiles.p10)
    }
}

#[tokio::test]
async fn a_forecast_is_cut_into_steps_and_into_the_apps_part() {
    let bench = Bench::planned(Plan { forecast: Some(Arc::new(Noon)), ..Plan::default() }).await;
    bench.tick().await;
    let mut web = bench.app("web").await;
    let own = web.get_forecast(v1::GetForecastRequest::default()).await.unwrap().into_inner();
    assert_eq!((own.start_ms, own.step_ms), (START_MS + 1_000, 1_000));
    let series = own.solar_mw.unwrap();
    let medians: Vec<f64> = series.steps.iter().map(|step| step.p50).collect();
    // Half of 2 W, 4 W and 6 W, as far as there is one.
    assert_eq!((series.source.as_str(), medians), ("trace", vec![1_000.0, 2_000.0, 3_000.0]));
    assert!(own.carbon_mg_per_kwh.is_none());
    let two = v1::GetForecastRequest { horizon_ms: 2_000, step_ms: 2_000 };
    let steps = web.get_forecast(two).await.unwrap().into_inner().solar_mw.unwrap().steps;
    assert_eq!(steps.iter().map(|step| (step.p10, step.p90)).collect::<Vec<_>>(), [(750.0, 3_000.0)]);
    // The errors are those of its half.
    assert_eq!((series.issued_at_ms, series.rests_on.as_str()), (7, "trace"));
    let error = &series.errors[0];
    assert_eq!((error.source.as_str(), error.lead_ms, error.pairs), ("clear-sky", 10_800_000, 9));
    assert_eq!((error.mae, error.bias, error.coverage), (20.0, -10.0, 0.75));
    let mut operator = bench.operator().await;
    let mut site = async |app: &str| {
        let asked = v1::GetSiteForecastRequest { app: app.into(), query: None };
        operator.get_site_forecast(asked).await.map(|reply| reply.into_inner().solar_mw.unwrap().steps[0].p50)
    };
    assert_eq!((site("").await.unwrap(), site("web").await.unwrap()), (2_000.0, 1_000.0));
    refused(site("ghost").await.map(tonic::Response::new), Code::NotFound, "REASON_UNKNOWN_APP");
    let long = v1::GetForecastRequest { horizon_ms: u64::MAX, step_ms: 1 };
    refused(web.get_forecast(long).await, Code::InvalidArgument, "REASON_PERIOD_OUT_OF_RANGE");
}

#[tokio::test]
async fn without_a_source_there_is_no_forecast() {
    let bench = Bench::new().await;
    let answer = bench.app("web").await.get_forecast(v1::GetForecastRequest::default()).await;
    refused(answer, Code::FailedPrecondition, "REASON_NO_FORECAST");
}
