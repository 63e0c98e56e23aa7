//! Records the log events of the crate as text.
//!
//! One subscriber for the whole process is installed before any event: `tracing` caches the interest in a callsite, which
//! must not depend on the order of the tests. Events go to the test whose thread they happen in.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, Once};
use std::{fmt, io};

use tracing::Subscriber;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;

#[derive(Clone, Default)]
pub struct Logs(Arc<Mutex<Vec<u8>>>);

thread_local! {
    static RECORDING: RefCell<Option<(Logs, Option<&'static str>)>> = const { RefCell::new(None) };
}

/// Installs the subscriber. Functions that create a test server call it before the first event.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .without_time()
            .event_format(WithName)
            .with_writer(|| ToThisThread);
        // A filter of the whole subscriber, since `tracing::enabled!` does not see those of a layer.
        let is_recorded = dynamic_filter_fn(|metadata, _| {
            RECORDING.with_borrow(|recording| match recording {
                Some((_, only)) => only.is_none_or(|name| name == metadata.name()),
                None => false,
            })
        });
        let subscriber = tracing_subscriber::registry().with(lines).with(is_recorded);
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

impl Logs {
    /// Records what this thread logs until the guard is dropped.
    pub fn record(&self) -> Recording {
        self.record_by_name(None)
    }

    /// Records only the event with this name. Other events of the thread do not use up the limits on log events, which
    /// all tests of a process share.
    pub fn record_only(&self, name: &'static str) -> Recording {
        self.record_by_name(Some(name))
    }

    fn record_by_name(&self, only: Option<&'static str>) -> Recording {
        listen();
        RECORDING.set(Some((self.clone(), only)));
        Recording(())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Returns what was recorded since the last call.
    pub fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

#[must_use]
pub struct Recording(());

impl Drop for Recording {
    fn drop(&mut self) {
        RECORDING.set(None);
    }
}

/// The usual format, with the name of the event as its first field: `event="login_started"`.
struct WithName;

impl<S, N> FormatEvent<S, N> for WithName
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        write!(writer, "{:>5} ", metadata.level())?;
        for span in context
            .event_scope()
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<N>>();
            let fields = fields.map_or("", |fields| fields.as_str());
            write!(writer, "{}{{{fields}}}: ", span.name())?;
        }
        write!(
            writer,
            "{}: event={:?} ",
            metadata.target(),
            metadata.name()
        )?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

struct ToThisThread;

impl io::Write for ToThisThread {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        RECORDING.with_borrow(|logs| {
            if let Some((logs, _)) = logs {
                logs.0.lock().unwrap().extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
