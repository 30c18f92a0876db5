//! The closed sets of words that label values are taken from, and counters found by such a word.

use std::marker::PhantomData;

use prometheus::IntCounter;

/// A closed set of words.
pub(crate) trait Word: Copy + 'static {
    const WORDS: &'static [&'static str];
    fn number(self) -> usize;
}

macro_rules! words {
    ($($(#[doc = $meaning:literal])+ $set:ident { $(#[doc = $of_word:literal] $word:ident = $text:literal,)+ })+) => {
        $(
            $(#[doc = $meaning])+
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
            pub enum $set {
                $(#[doc = $of_word] $word,)+
            }

            impl $set {
                /// Every one, in the order of declaration.
                pub const ALL: &'static [Self] = &[$(Self::$word,)+];

                /// The label value.
                pub const fn as_str(self) -> &'static str {
                    Self::WORDS[self as usize]
                }
            }

            impl Word for $set {
                const WORDS: &'static [&'static str] = &[$($text,)+];
                fn number(self) -> usize {
                    self as usize
                }
            }
        )+
    };
}

words! {
    /// A bound on the use of a server that a request ran into.
    Limit {
        /// Requests by client: 429.
        Rate = "rate",
        /// Exchanges at once: 503.
        Concurrency = "concurrency",
        /// Event streams at once of one client: 429.
        Streams = "streams",
        /// Bytes of a request body, also once it is decoded: 413.
        RequestSize = "request_size",
        /// Bytes or number of header fields: 431.
        RequestHeaders = "request_headers",
        /// Bytes of an answer or event that a redaction policy must see whole: the message is denied.
        AnswerSize = "answer_size",
        /// Bytes of all messages that are held whole at once: 503.
        HeldBytes = "held_bytes",
    }

    /// What came of the wish to try a request again that never left.
    Retry {
        /// It was tried again.
        Sent = "sent",
        /// It was not, because too many are.
        OverBudget = "over_budget",
    }

    /// What a client's credentials were found to be, by the gateway or by the server.
    AuthResult {
        /// A key or token that the gateway knows.
        Known = "known",
        /// None were given to the gateway.
        Missing = "missing",
        /// Neither a known key nor a token that can be read.
        Invalid = "invalid",
        /// A token of a key that is not in the JWKS.
        UnknownKey = "unknown_key",
        /// A token that its key has not signed.
        WrongSignature = "wrong_signature",
        /// A token that is signed, or says of itself, what cannot be verified.
        UnsupportedToken = "unsupported_token",
        /// A token without `exp`, `iss` or `aud`, or with another kind of value there or in `nbf`.
        MissingClaim = "missing_claim",
        /// A token of another issuer.
        WrongIssuer = "wrong_issuer",
        /// A token for others.
        WrongAudience = "wrong_audience",
        /// A token whose time has not come.
        NotYetValid = "not_yet_valid",
        /// A token whose time is over.
        Expired = "expired",
        /// The server answered 401.
        Upstream401 = "upstream_401",
        /// The server answered 403.
        Upstream403 = "upstream_403",
    }

    /// Why a client connection was ended without an exchange.
    ConnectionRefusal {
        /// The TLS handshake failed or took too long.
        TlsHandshake = "tls_handshake",
        /// The head of a request took too long.
        SlowHead = "slow_head",
        /// The head of a request was not HTTP.
        MalformedHead = "malformed_head",
        /// The head of a request was over the limits for all servers.
        HeadTooLarge = "head_too_large",
        /// Its client had as many as it may.
        TooManyOfClient = "too_many_of_client",
        /// It was the one on which nothing had been asked for longest when others waited for a place.
        IdleLongest = "idle_longest",
    }

    /// What made a request one that no page or name of ours could have sent.
    GuardRefusal {
        /// The value of `Host`.
        Host = "host",
        /// The value of `Origin`.
        Origin = "origin",
    }

    /// Why telemetry did not get to a collector.
    PushLoss {
        /// The queue was full: it comes faster than it can be exported, or nothing gets out.
        QueueFull = "queue_full",
        /// There was no connection for too long.
        Unreachable = "unreachable",
        /// There was no answer in time for too long.
        Timeout = "timeout",
        /// The collector was busy for too long.
        Busy = "busy",
        /// The collector refused it.
        Refused = "refused",
        /// What answered was no collector.
        NotACollector = "not_a_collector",
        /// The collector took the rest of the batch; of traces it is spans that are counted here.
        Rejected = "rejected",
        /// The gateway ended first.
        Shutdown = "shutdown",
    }

    /// What was wrong with trace context from outside, so that it was left out.
    InvalidTraceContext {
        /// It is no `traceparent`.
        TraceparentMalformed = "traceparent_malformed",
        /// Its version is ff, which is none.
        TraceparentVersion = "traceparent_version",
        /// There are several.
        TraceparentRepeated = "traceparent_repeated",
        /// It is no `tracestate`.
        TracestateMalformed = "tracestate_malformed",
        /// It has more than 512 bytes.
        TracestateTooLong = "tracestate_too_long",
        /// It has more than 32 members.
        TracestateTooMany = "tracestate_too_many",
        /// It is no `baggage`.
        BaggageMalformed = "baggage_malformed",
        /// It has more than 8192 bytes.
        BaggageTooLong = "baggage_too_long",
        /// It has more than 64 members.
        BaggageTooMany = "baggage_too_many",
        /// In `_meta` it is something else than a string.
        NotAString = "not_a_string",
    }

    /// The state of a circuit breaker. Their numbers, from 0, are the values of `watchgate_circuit_breaker_state`.
    BreakerState {
        /// Requests pass.
        Closed = "closed",
        /// None pass.
        Open = "open",
        /// One passes, on trial.
        HalfOpen = "half_open",
    }

    /// What came of a request sent to an endpoint, as far as it tells of the endpoint.
    EndpointResult {
        /// It was answered.
        Ok = "ok",
        /// The answer is one of a server in trouble, broken, or did not come in time.
        Failed = "failed",
        /// There was no connection to send it on.
        ConnectFailed = "connect_failed",
        /// The client left before that was known.
        Abandoned = "abandoned",
    }

    /// Why an endpoint brought no answer, or not all of it.
    UpstreamCause {
        /// Its name did not resolve.
        Dns = "dns",
        /// Nobody listens there.
        Refused = "refused",
        /// There is no way there.
        Unroutable = "unroutable",
        /// Its certificate is not one that is trusted for it.
        TlsUntrusted = "tls_untrusted",
        /// The TLS handshake failed in another way.
        TlsHandshake = "tls_handshake",
        /// It did not let the gateway in, or did not answer, in time.
        Timeout = "timeout",
        /// It reset the connection.
        Reset = "reset",
        /// It closed the connection.
        Closed = "closed",
        /// What it sent is not HTTP.
        NotHttp = "not_http",
        /// Something else.
        Other = "_other",
    }

    /// What came of reading a certificate again that had changed.
    CertificateReload {
        /// The new one is in use.
        Replaced = "replaced",
        /// It is of no use; the one before stays.
        Failed = "failed",
    }

    /// What came of reading the configuration again.
    ConfigReload {
        /// It is in force.
        Applied = "applied",
        /// It is wrong or cannot be put into force; the one before stays.
        Refused = "refused",
    }
}

/// A counter for each word of a set, all of them shown from the start.
pub(crate) struct CounterByWord<W> {
    counters: Box<[IntCounter]>,
    words: PhantomData<fn(W)>,
}

impl<W: Word> CounterByWord<W> {
    pub fn new(counter: impl Fn(&'static str) -> IntCounter) -> Self {
        Self { counters: W::WORDS.iter().map(|word| counter(word)).collect(), words: PhantomData }
    }

    pub fn count(&self, word: W) {
        self.counters[word.number()].inc();
    }

    pub fn count_many(&self, word: W, count: u64) {
        self.counters[word.number()].inc_by(count);
    }

    pub fn get(&self, word: W) -> u64 {
        self.counters[word.number()].get()
    }
}

#[cfg(test)]
mod tests {
    use super::BreakerState;

    #[test]
    fn the_states_of_a_breaker_have_the_documented_numbers() {
        assert_eq!(
            BreakerState::ALL.iter().map(|state| (*state as usize, state.as_str())).collect::<Vec<_>>(),
            [(0, "closed"), (1, "open"), (2, "half_open")]
        );
    }
}
