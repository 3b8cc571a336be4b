//! Spans of runs, targets and chunks (transactions), as received by an OpenTelemetry collector.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use testkit::{Database, Receiver, expired_sessions, reap};

#[cfg(feature = "otlp")]
mod sent {
    use std::collections::BTreeMap;

    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::KeyValue;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::trace::v1::Span;
    use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
    use prost::Message as _;
    use tempfile::TempDir;
    use testkit::{free_port, start_reaper};

    use super::{Database, Receiver, expired_sessions, reap};

    type Attributes = BTreeMap<String, String>;

    fn attributes(pairs: &[KeyValue]) -> Attributes {
        let text =
            |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
                Some(Value::StringValue(text)) => text.clone(),
                Some(Value::IntValue(number)) => number.to_string(),
                other => format!("{other:?}"),
            };
        pairs.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
    }

    /// Returns the received spans, and the attributes of their resource.
    fn collected(receiver: &Receiver) -> (Vec<Span>, Attributes) {
        let (mut spans, mut resource) = (Vec::new(), Attributes::new());
        for request in receiver.received() {
            assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/traces"));
            assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
            for of_one in
                ExportTraceServiceRequest::decode(request.body.as_slice()).unwrap().resource_spans
            {
                resource.extend(attributes(&of_one.resource.unwrap().attributes));
                spans.extend(of_one.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
        }
        (spans, resource)
    }

    fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
        spans.iter().filter(|span| span.name == name).collect()
    }

    fn is_error(span: &Span) -> bool {
        span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
    }

    #[tokio::test]
    async fn collector_receives_the_run_its_targets_and_chunks() {
        let database = Database::create().await;
        expired_sessions(&database, 250).await;
        let collector = Receiver::answering(&[(200, "")]).await;
        let endpoint = format!("http://{}/", collector.address());
        let env = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=mine"),
            // The log level does not affect spans.
            ("RUST_LOG", "error"),
        ];
        let run = reap(&database, &env).await;
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert!(
            collector.received().iter().all(|request| request.header("x-tenant") == Some("mine"))
        );

        let (spans, resource) = collected(&collector);
        assert_eq!(resource["service.name"], "session-reaper");
        assert_eq!(resource["deployment.environment.name"], "test");
        let runs = named(&spans, "run");
        let [root] = runs.as_slice() else { panic!("{spans:?}") };
        assert!(root.parent_span_id.is_empty() && !is_error(root));
        let of_run = attributes(&root.attributes);
        assert_eq!(of_run["run_id"], run.report["run_id"].as_str().unwrap());
        assert_eq!((of_run["outcome"].as_str(), of_run["rows"].as_str()), ("success", "250"));
        assert_eq!(
            (of_run["why"].as_str(), of_run["trigger"].as_str()),
            ("no due rows are left", "manual")
        );

        let targets = named(&spans, "target");
        let names: Vec<String> =
            targets.iter().map(|span| attributes(&span.attributes)["target"].clone()).collect();
        assert_eq!(names, ["sessions", "consumed_challenges", "reaper_runs"]);
        for target in &targets {
            assert_eq!((&target.parent_span_id, &target.trace_id), (&root.span_id, &root.trace_id));
            assert_eq!(attributes(&target.attributes)["outcome"], "success");
        }
        assert_eq!(attributes(&targets[0].attributes)["rows"], "250");

        let chunks = named(&spans, "chunk");
        let of_sessions = chunks.iter().filter(|chunk| chunk.parent_span_id == targets[0].span_id);
        let of_sessions: Vec<Attributes> =
            of_sessions.map(|chunk| attributes(&chunk.attributes)).collect();
        let deleted: Vec<&str> = of_sessions
            .iter()
            .filter(|of| of["reason"] == "expired")
            .map(|of| of["rows"].as_str())
            .collect();
        assert_eq!(deleted, ["100", "100", "50"]);
        assert!(
            of_sessions.iter().all(|of| of["target"] == "sessions" && of["outcome"] == "done"),
            "{of_sessions:?}"
        );
        for chunk in chunks {
            assert!(
                targets.iter().any(|target| target.span_id == chunk.parent_span_id),
                "{chunk:?}"
            );
            assert!(root.start_time_unix_nano <= chunk.start_time_unix_nano);
            assert!(chunk.end_time_unix_nano <= root.end_time_unix_nano);
        }
    }

    #[tokio::test]
    async fn failed_run_is_an_error_span_with_its_reason() {
        let database = Database::create().await;
        let collector = Receiver::answering(&[(200, "")]).await;
        let endpoint = format!("http://{}", collector.address());
        let nowhere = format!("postgres://nobody@127.0.0.1:{}/nowhere", free_port());
        let env = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("DATABASE_URL", &nowhere),
            ("OTEL_SERVICE_NAME", "tidy"),
        ];
        assert_eq!(reap(&database, &env).await.code, Some(69));
        let (spans, resource) = collected(&collector);
        assert_eq!(resource["service.name"], "tidy");
        let [run] = spans.as_slice() else { panic!("{spans:?}") };
        let of_run = attributes(&run.attributes);
        assert!(
            is_error(run) && of_run["why"].starts_with("cannot connect to PostgreSQL"),
            "{of_run:?}"
        );
    }

    #[tokio::test]
    async fn daemon_sends_pending_spans_on_shutdown() {
        let database = Database::create().await;
        let collector = Receiver::answering(&[(200, "")]).await;
        let endpoint = format!("http://{}", collector.address());
        // No span is sent before the daemon stops.
        let env = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
            ("SCHEDULE", "* * * * * *"),
        ];
        let mut program = start_reaper(&database, &["daemon"], &env);
        program.log_event("run_ended").await;
        program.signal("TERM");
        assert_eq!(program.wait().await.code(), Some(0), "{}", program.stderr());
        let (spans, _) = collected(&collector);
        assert!(!named(&spans, "run").is_empty(), "{spans:?}");
    }

    /// Asserts that a run with a failing collector succeeds, logs the loss once, and counts it.
    async fn succeeds_despite(endpoint: &str) {
        let database = Database::create().await;
        expired_sessions(&database, 250).await;
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("session_reaper.prom");
        let env = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
            ("TEXTFILE", path.to_str().unwrap()),
            // Several batches.
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1"),
        ];
        let run = reap(&database, &env).await;
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert_eq!(run.report["outcome"], "success");
        let logged = run.stderr.lines().filter(|line| line.contains("spans_lost")).count();
        assert_eq!(logged, 1, "{}", run.stderr);
        let written = testkit::without_database(&std::fs::read_to_string(path).unwrap());
        let series = "session_reaper_export_failures_total{exporter=\"otlp\"} ";
        let failures: f64 =
            written.lines().find_map(|line| line.strip_prefix(series)).unwrap().parse().unwrap();
        assert!(failures >= 1.0, "{written}");
    }

    #[tokio::test]
    async fn hanging_collector_does_not_block_a_run() {
        let collector = Receiver::answering(&[]).await;
        // Only the exporter's own timeout ends the run: each span is a batch, and none is answered.
        succeeds_despite(&format!("http://{}", collector.address())).await;
        assert!(collector.received().len() < 5, "{:?}", collector.received().len());
    }

    #[tokio::test]
    async fn failing_collector_does_not_fail_a_run() {
        succeeds_despite(&format!("http://127.0.0.1:{}", free_port())).await;
        let collector = Receiver::answering(&[(503, "")]).await;
        succeeds_despite(&format!("http://{}", collector.address())).await;
    }
}

#[cfg(not(feature = "otlp"))]
#[tokio::test]
async fn build_without_otlp_warns_that_spans_are_unsupported() {
    let database = Database::create().await;
    expired_sessions(&database, 10).await;
    let collector = Receiver::answering(&[(200, "")]).await;
    let endpoint = format!("http://{}", collector.address());
    let run = reap(&database, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
    assert_eq!(run.code, Some(0));
    assert!(run.stderr.contains("spans_not_supported"), "{}", run.stderr);
    assert!(collector.received().is_empty());
}
