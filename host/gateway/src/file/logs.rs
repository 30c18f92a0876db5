//! `[logs]`: what the gateway says of itself and of exchanges, and where.

use std::time::Duration;

use watchgate_telemetry::log::{LogConfig, LogFormat, LogOutput, MaskedFields, check_level};
use watchgate_telemetry::{AccessField, AccessLogTarget, Capture, CaptureConfig, LogsPushConfig, RecentLogsConfig, Rotation};

use super::otlp::{self, OtlpSettings};
use super::part::{FileReader, Part};

/// Files put aside that are kept when only their size is said.
const FILES: u32 = 5;

/// What `[logs]` says, with defaults for what it does not.
#[derive(Clone, Debug, PartialEq)]
pub struct LogSettings {
    /// A level, or several by module.
    pub level: String,
    /// How the own log looks.
    pub format: LogFormat,
    /// Where it goes.
    pub output: LogOutput,
    /// Where access lines go; a path is relative to the working folder, as in a flag.
    pub access_log: AccessLogTarget,
    /// What they say; empty for all there is.
    pub access_fields: Vec<AccessField>,
    /// When files of both are put aside.
    pub rotation: Option<Rotation>,
    /// From when on a call is said as slow.
    pub slow_call_threshold: Option<Duration>,
    /// Fields that are masked.
    pub masked: MaskedFields,
    /// Of which tool calls arguments and results are recorded, and how much of them.
    pub capture: (Capture, usize),
    /// What is remembered.
    pub recent: RecentLogsConfig,
    /// Where the lines of both are pushed to.
    pub otlp: OtlpSettings<LogsPushConfig>,
}

impl Default for LogSettings {
    fn default() -> Self {
        let LogConfig { level, format, output, rotation, masked, recent } = LogConfig::default();
        Self {
            level,
            format,
            output,
            access_log: AccessLogTarget::Stdout,
            access_fields: Vec::new(),
            rotation,
            slow_call_threshold: Some(Duration::from_millis(300)),
            masked,
            capture: (Capture::None, CaptureConfig::default().bytes),
            recent,
            otlp: OtlpSettings::default(),
        }
    }
}

impl LogSettings {
    /// What telemetry is told of tool calls.
    pub fn captured(&self) -> CaptureConfig {
        let (calls, bytes) = self.capture;
        CaptureConfig { calls, bytes, masked: self.masked.clone() }
    }

    /// What the own log is told.
    pub fn own(&self) -> LogConfig {
        LogConfig {
            level: self.level.clone(),
            format: self.format,
            output: self.output.clone(),
            rotation: self.rotation,
            masked: self.masked.clone(),
            recent: self.recent,
        }
    }
}

/// Reads `[logs]`.
pub fn read(reader: &mut FileReader<'_>, top: &Part<'_, '_>) -> LogSettings {
    let mut logs = LogSettings::default();
    let Some(part) = reader.part(top, "logs") else { return logs };
    logs.level = reader.parsed(&part, "level", level).unwrap_or(logs.level);
    logs.format = reader.one_of(&part, "format").map_or(logs.format, |word| format(&word));
    logs.output = reader.text(&part, "output").map_or(logs.output, |text| match text.as_str() {
        "stderr" => LogOutput::Stderr,
        "-" => LogOutput::Stdout,
        path => LogOutput::File(path.into()),
    });
    logs.access_log = reader.text(&part, "access_log").map_or(logs.access_log, |text| access_log(&text));
    logs.access_fields = read_access_fields(reader, &part);
    logs.rotation = read_rotation(reader, &part);
    let threshold = reader.duration(&part, "slow_call_threshold");
    logs.slow_call_threshold = threshold.map_or(logs.slow_call_threshold, |threshold| (!threshold.is_zero()).then_some(threshold));
    logs.masked = reader.texts(&part, "masked_fields").map_or(logs.masked, MaskedFields::with);
    let (calls, bytes) = logs.capture;
    let calls = reader.one_of(&part, "capture").map_or(calls, |word| capture(&word));
    logs.capture = (calls, reader.size(&part, "capture_bytes").unwrap_or(bytes));
    let RecentLogsConfig { lines, bytes } = logs.recent;
    logs.recent = RecentLogsConfig {
        lines: reader.size_of_count(&part, "recent_lines").unwrap_or(lines),
        bytes: reader.size(&part, "recent_bytes").unwrap_or(bytes),
    };
    logs.otlp = otlp::read_logs(reader, &part);
    logs
}

/// A level that the log takes.
///
/// # Errors
/// A sentence that completes "KEY ...".
pub fn level(text: &str) -> Result<String, String> {
    let wanted = "error, warn, info, debug, trace, off, or some for single modules such as info,watchgate_proxy=debug";
    check_level(text).map(|()| text.to_owned()).map_err(|_| format!("must be {wanted}, not \"{text}\""))
}

/// The format of this name, one of those of the table.
pub fn format(word: &str) -> LogFormat {
    if word == "json" { LogFormat::Json } else { LogFormat::Pretty }
}

/// One of the words of the table.
fn capture(word: &str) -> Capture {
    match word {
        "all" => Capture::All,
        "on_error" => Capture::OnError,
        _ => Capture::None,
    }
}

/// Where access lines go.
pub fn access_log(text: &str) -> AccessLogTarget {
    match text {
        "-" => AccessLogTarget::Stdout,
        "off" => AccessLogTarget::Off,
        path => AccessLogTarget::File(path.into()),
    }
}

fn read_access_fields(reader: &mut FileReader<'_>, part: &Part<'_, '_>) -> Vec<AccessField> {
    let names = reader.texts(part, "access_fields");
    let mut fields = Vec::new();
    for name in names.iter().flatten() {
        match AccessField::parse(name) {
            Ok(field) if fields.contains(&field) => {
                reader.complain(part.at("access_fields"), format!("`logs.access_fields` names `{name}` twice"));
            }
            Ok(field) => fields.push(field),
            Err(error) => reader.complain(part.at("access_fields"), format!("`logs.access_fields`: {error}")),
        }
    }
    if names.is_some_and(|names| names.is_empty()) {
        reader
            .complain(part.at("access_fields"), "`logs.access_fields` must name at least one; `access_log = \"off\"` says nothing at all");
    }
    fields
}

fn read_rotation(reader: &mut FileReader<'_>, part: &Part<'_, '_>) -> Option<Rotation> {
    let max_size = reader.size(part, "max_size").and_then(|bytes| u64::try_from(bytes).ok());
    let max_files = reader.count(part, "max_files").unwrap_or(FILES);
    if part.has("max_files") && !part.has("max_size") {
        reader.complain(part.at("max_files"), "`logs.max_files` has no meaning without `logs.max_size`");
    }
    Some(Rotation { max_size: max_size?, max_files })
}
