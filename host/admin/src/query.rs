//! Query parameters, each taken once and checked. Pure.

use std::time::{Duration, SystemTime};

use crate::percent::decoded;
use crate::time_text::{parse_duration, parse_moment};

/// A parameter that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadParameter {
    /// Its name.
    pub name: String,
    /// A sentence that completes "NAME ...".
    pub problem: String,
}

/// The parameters of a request. Each is taken by the one who knows what it means; what is left over is unknown.
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl Query {
    /// Splits a query.
    pub fn parse(query: Option<&str>) -> Result<Self, BadParameter> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for part in query.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let bad = |problem: &str| BadParameter { name: name.to_owned(), problem: problem.to_owned() };
            let text = |encoded: &str| decoded(&encoded.replace('+', " ")).ok_or_else(|| bad("is not percent-encoded UTF-8"));
            let pair = (text(name)?, text(value)?);
            if pairs.iter().any(|(known, _)| *known == pair.0) {
                return Err(bad("is there twice"));
            }
            pairs.push(pair);
        }
        Ok(Self { pairs, known: Vec::new() })
    }

    /// A text; one that is empty is as good as none.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let place = self.pairs.iter().position(|(known, _)| known == name)?;
        Some(self.pairs.swap_remove(place).1).filter(|value| !value.is_empty())
    }

    /// A value that is written as a text.
    pub fn parsed<T>(&mut self, name: &'static str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, BadParameter> {
        let text = self.text(name);
        text.map(|text| parse(&text)).transpose().map_err(|problem| BadParameter { name: name.to_owned(), problem })
    }

    /// A duration.
    pub fn duration(&mut self, name: &'static str) -> Result<Option<Duration>, BadParameter> {
        self.parsed(name, parse_duration)
    }

    /// A moment.
    pub fn moment(&mut self, name: &'static str, now: SystemTime) -> Result<Option<SystemTime>, BadParameter> {
        self.parsed(name, |text| parse_moment(text, now))
    }

    /// A whole number from 1 to `most`.
    pub fn count(&mut self, name: &'static str, most: usize) -> Result<Option<usize>, BadParameter> {
        self.parsed(name, |text| {
            let number = text.parse().ok().filter(|number| (1..=most).contains(number));
            number.ok_or_else(|| format!("must be a whole number from 1 to {most}, not `{text}`"))
        })
    }

    /// `true` or `false`; the name alone is `true`, its absence `false`.
    pub fn flag(&mut self, name: &'static str) -> Result<bool, BadParameter> {
        let is_there = self.pairs.iter().any(|(known, _)| known == name);
        match self.text(name).as_deref() {
            None => Ok(is_there),
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(BadParameter { name: name.to_owned(), problem: format!("must be true or false, not `{other}`") }),
        }
    }

    /// Refuses what nobody took: a misspelt filter would otherwise let everything through.
    pub fn end(self) -> Result<(), BadParameter> {
        match self.pairs.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(BadParameter { name, problem: format!("is unknown; there are: {}", self.known.join(", ")) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_taken_once_and_nothing_is_left_over() {
        let check = |query: &str, expected: Result<(Option<&str>, bool, Option<usize>), &str>| {
            let read = || {
                let mut query = Query::parse(Some(query))?;
                let found = (query.text("server"), query.flag("errors")?, query.count("limit", 10)?);
                query.end().map(|()| found)
            };
            let expected = expected.map(|(text, flag, count)| (text.map(str::to_owned), flag, count)).map_err(str::to_owned);
            assert_eq!(read().map_err(|bad: BadParameter| bad.name), expected, "{query}");
        };
        check("", Ok((None, false, None)));
        check("server=a%20b+c&errors&limit=10", Ok((Some("a b c"), true, Some(10))));
        check("errors=false&server=", Ok((None, false, None)));
        check("errors=true&&", Ok((None, true, None)));
        check("limit=0", Err("limit"));
        check("limit=11", Err("limit"));
        check("limit=x", Err("limit"));
        check("errors=maybe", Err("errors"));
        check("server=%zz", Err("server"));
        check("server=%ff", Err("server"));
        check("server=a&server=b", Err("server"));
        check("sever=a", Err("sever"));
        check("=", Err(""));
    }
}
