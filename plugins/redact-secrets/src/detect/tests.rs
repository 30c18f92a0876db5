//! Tests of detection: what each shape takes, what it must leave alone, and that the quick look over raw JSON misses nothing.

use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::reading::bytes_read;
use super::{Detector, named_secret};
use crate::class::Class;

pub const PEM: &str = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA1c7\n+9z5Pad7OejecsQ0buh==\n-----END RSA PRIVATE KEY-----";

/// One secret of each shape, and its class.
pub const SECRETS: [(&str, Class); 26] = [
    ("AKIAIOSFODNN7EXAMPLE", Class::AwsKey),
    ("ASIAIOSFODNN7EXAMPLE", Class::AwsKey),
    ("AIzaSyA1234567890abcdefghijklmnopqrstuv", Class::GcpKey),
    ("ghp_0123456789abcdefghijABCDEFGHIJ012345", Class::GithubToken),
    ("gho_0123456789abcdefghijABCDEFGHIJ012345", Class::GithubToken),
    ("ghs_0123456789abcdefghijABCDEFGHIJ012345", Class::GithubToken),
    ("github_pat_11ABCDEFG0123456789_abcdefghijklmnop", Class::GithubToken),
    ("xoxb-123456789012-abcdefGHIJ", Class::SlackToken),
    ("xoxe.xoxp-1-Mi0yLTEyMzQ1", Class::SlackToken),
    ("xapp-1-A0123456789-abcdef", Class::SlackToken),
    ("sk_live_4eC39HqLyjWDarjtT1zdp7dc", Class::StripeKey),
    ("rk_test_4eC39HqLyjWDarjtT1zdp7dc", Class::StripeKey),
    ("sk-proj-abcdefghijklmnop0123", Class::AiKey),
    ("sk-ant-api03-AbCdEf_ghi-jkl0123456789", Class::AiKey),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9", Class::Jwt),
    (PEM, Class::PrivateKey),
    ("bob.smith+test@mail.example.co.uk", Class::Email),
    ("jürgen@münchen.example", Class::Email),
    ("4111111111111111", Class::Card),
    ("4111 1111 1111 1111", Class::Card),
    ("5555-5555-5555-4444", Class::Card),
    ("378282246310005", Class::Card),
    ("3782 822463 10005", Class::Card),
    ("6011111111111117", Class::Card),
    ("3056 930902 5904", Class::Card),
    ("2223003122003222", Class::Card),
];

pub fn all() -> Detector {
    Detector::new(Class::ALL.into_iter().collect())
}

/// In `text`, exactly `expected` is found; of findings that overlap the first counts.
fn check(text: &str, expected: &[(&str, Class)]) {
    let mut found = all().find(text.as_bytes());
    found.sort_by_key(|finding| finding.range.start);
    found.dedup_by(|later, first| later.range.start < first.range.end);
    let found: Vec<_> = found.iter().map(|finding| (&text[finding.range.clone()], finding.class)).collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn finds_each_secret_wherever_it_stands() {
    for (secret, class) in SECRETS {
        for (before, after) in [("", ""), ("key=", " end"), ("\"", "\""), ("(", ")."), ("%3D", "&x=1"), ("\n", "\n"), ("schlüssel: ", "…")]
        {
            if before == "%3D" && class == Class::Email {
                continue; // An address may hold a percent sign.
            }
            check(&format!("{before}{secret}{after}"), &[(secret, class)]);
        }
    }
}

#[test]
fn finds_what_a_name_announces() {
    let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    for before in [
        "AWS_SECRET_ACCESS_KEY=",
        "aws_secret_access_key = ",
        "SecretAccessKey: ",
        "Secret access key:\t",
        "{\"secretAccessKey\":\"",
        "aws-secret: '",
    ] {
        check(&format!("{before}{secret}"), &[(secret, Class::AwsKey)]);
    }
    for not in ["client_secret=wJalr", "the secret ", "aws_secret_key=x", "aws_secret_access_key"] {
        check(&format!("{not} {secret}"), &[]);
    }
    check(&format!("AWS_SECRET_ACCESS_KEY={secret}x"), &[]);
    let azure = format!("{}==", "Ab3+".repeat(21) + "xy");
    for before in ["AccountName=x;AccountKey=", "accountkey: ", "SharedAccessKeyName=x;SharedAccessKey="] {
        check(&format!("{before}{azure}"), &[(&azure, Class::AzureKey)]);
    }
    check(&format!("Key={azure}"), &[]);
    let token = "mF_9.B5f-4.1JqM~a+b/c=";
    for before in ["Authorization: Bearer ", "bearer  ", "BEARER%20", "token=bearer+"] {
        check(&format!("{before}{token}"), &[(token, Class::BearerToken)]);
    }
    check("Bearer abcdefghijklmnopQRstuv", &[("abcdefghijklmnopQRstuv", Class::BearerToken)]);
}

#[test]
fn leaves_ordinary_text_alone() {
    for text in [
        "AKIAIOSFODNN7EXAMPL",
        "AKIAIOSFODNN7EXAMPLE1",
        "xAKIAIOSFODNN7EXAMPLE",
        "AIzaShort",
        "ghp_short",
        "a github_pat_ prefix",
        "task-management-and-more-things-2024",
        "sk-learn-pipelines-and-transformers",
        "risk_live_",
        "Bearer authentication-mechanism",
        "bearer token",
        "eyJhbGciOiJIUzI1NiJ9",
        "eyJhbGciOiJIUzI1NiJ9.x.y",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----",
        "@scope/package@1.2.3",
        "user@localhost",
        "@",
        "a@b",
        "a@.com",
        "@b.com",
        "4111111111111112",
        "1111111111111111",
        "0.4111111111111111",
        "4111111111111111.5",
        "x4111111111111111",
        "4111 1111 1111 11112",
        "4111-1111 1111 1111",
        "41111111111111111111111",
        "2026-11-20T12:55:00.000Z 1732107300000000",
        "a41b1c88-4111-1111-1111-111111111111",
    ] {
        check(text, &[]);
    }
}

#[test]
fn takes_no_more_than_the_secret() {
    check("mail bob@example.com.", &[("bob@example.com", Class::Email)]);
    check("邮箱: bob@example.com这是", &[("bob@example.com", Class::Email)]);
    check("<bob@example.com>,<eve@example.org>", &[("bob@example.com", Class::Email), ("eve@example.org", Class::Email)]);
    check("-----BEGIN PRIVATE KEY-----\nMIIE", &[("-----BEGIN PRIVATE KEY-----\nMIIE", Class::PrivateKey)]);
    check(&format!("{PEM} {PEM}"), &[(PEM, Class::PrivateKey), (PEM, Class::PrivateKey)]);
    let jwt = SECRETS[14].0;
    check(&format!("see {jwt}. And"), &[(jwt, Class::Jwt)]);
}

#[test]
fn finds_only_enabled_classes() {
    for enabled in Class::ALL {
        let detector = Detector::new([enabled].into_iter().collect());
        for (secret, class) in SECRETS {
            let found = detector.find(secret.as_bytes());
            assert!(found.iter().all(|finding| finding.class == enabled), "{secret}");
            assert_eq!(found.is_empty(), class != enabled, "{secret}");
        }
    }
}

#[test]
fn every_secret_holds_a_trigger_of_its_class() {
    for (secret, class) in SECRETS {
        if let Some(triggers) = class.triggers() {
            let lower = secret.to_lowercase();
            assert!(triggers.iter().any(|trigger| lower.contains(&trigger.to_lowercase())), "{secret}");
        }
    }
}

/// For each detector, beginnings that it must look at and that lead nowhere, or far.
const HOSTILE: [&str; 49] = [
    "AKIA",
    "-AKIA",
    "aAKIA",
    "AKIAIOSFODNN7EXAMPLE",
    "AIza",
    "-AIza",
    "aAIza",
    "ghp_",
    "aghp_",
    "-ghp_",
    "github_pat_",
    "agithub_pat_",
    "-github_pat_",
    "xoxb-",
    "axoxb-",
    "xapp-1",
    "sk_live_",
    "ask_live_",
    "sk_live_1234567890-",
    "sk-",
    "ask-",
    "sk-ask-",
    "bearer",
    "bearer ",
    "bearer+",
    "bearer%20",
    "bearer+aB",
    "bearer ++bearer",
    "bearer aaaaaaaaaaaaaaaa.bearer+",
    "eyJ",
    "eyJ-",
    "aeyJ",
    "eyJ.",
    "eyJaaaaaaaa.",
    "eyJaaaaaaaa.eyJ",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY----------END ",
    "-----BEGIN ",
    "a@",
    "@a.",
    "a@b.",
    "secret",
    "secret=",
    "aws_secret_key: ",
    "AccountKey=",
    "SharedAccessKey\":\"",
    "4111 ",
    "4111-1111-1111-1112-",
    "4111111111111112 ",
];

/// How many bytes `search` reads of this much of the unit, with a digit behind it that makes many a word look like a key.
fn reads(unit: &str, bytes: usize, search: impl Fn(&[u8])) -> usize {
    let text = unit.repeat(bytes / unit.len()) + "1";
    bytes_read(|| search(text.as_bytes()))
}

type Search<'a> = &'a dyn Fn(&[u8]);

#[test]
fn four_times_the_text_is_four_times_the_work() {
    const SIZE: usize = 32 << 10;
    let detector = all();
    let find = |text: &[u8]| drop(detector.find(text));
    let announced = |text: &[u8]| {
        let _found_or_not = detector.may_hold(text);
    };
    let names = |text: &[u8]| {
        let _found_or_not = named_secret(text);
    };
    let searches: [(&str, Search<'_>); 3] = [("find", &find), ("may_hold", &announced), ("named_secret", &names)];
    for unit in HOSTILE {
        for (name, search) in searches {
            let (once, four_times) = (reads(unit, SIZE, search), reads(unit, 4 * SIZE, search));
            assert!(once <= 16 * SIZE, "{name} reads {once} bytes for {SIZE} of {unit:?}");
            // A square would be sixteen times.
            assert!(four_times <= 5 * once, "{name} reads {once} bytes, and of four times as many {four_times}: {unit:?}");
        }
    }
}

#[test]
fn a_word_that_settles_nothing_for_the_next_hides_nothing() {
    // Where a token is none, or ends, the word that ends it still announces the next.
    for between in [" ", "+ ", "++++ ", "%20", "\t"] {
        let token = "mF_9.B5f-4.1JqM~a+b/c=";
        check(&format!("Bearer authentication.mechanism.bearer{between}{token}"), &[(token, Class::BearerToken)]);
        let first = "mF_9.B5f-4.1JqM.bearer";
        let plus = between.bytes().take_while(|byte| *byte == b'+').count();
        let first = format!("{first}{}", "+".repeat(plus));
        check(&format!("Bearer {first}{}{token}", &between[plus..]), &[(&first, Class::BearerToken), (token, Class::BearerToken)]);
    }
    let (gcp, azure) = (SECRETS[2].0, format!("{}==", "Ab3+".repeat(21) + "xy"));
    check(&format!("AIza{}-{gcp}", "a".repeat(50)), &[(gcp, Class::GcpKey)]);
    for before in ["AccountKey=AccountKey=AccountKey=", "AccountKey=AccountKey: "] {
        let filler = "a".repeat(200);
        check(&format!("AccountKey={filler}{before}{azure}"), &[(&azure, Class::AzureKey)]);
    }
    let jwt = SECRETS[14].0;
    check(&format!("xeyJ.{jwt}"), &[(jwt, Class::Jwt)]);
    check(&format!("sk-learn-pipelines-and-transformers {}", SECRETS[12].0), &[(SECRETS[12].0, Class::AiKey)]);
    check(&format!("xghp_0123456789abcdefghijABCDEFGHIJ012345 {}", SECRETS[3].0), &[(SECRETS[3].0, Class::GithubToken)]);
}

/// A character of `text` as some JSON writer may put it.
fn escaped(text: String, choices: Vec<u8>) -> String {
    let mut raw = String::new();
    for (character, choice) in text.chars().zip(choices.into_iter().cycle()) {
        match (character, choice % 4) {
            ('\n', 1) => raw += "\\n",
            ('/', 1 | 2) => raw += "\\/",
            ('"' | '\\', 1..) => raw.extend(['\\', character]),
            (_, 1..) if character >= ' ' => raw.push(character),
            _ => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    raw += &format!("\\u{unit:04x}");
                }
            }
        }
    }
    raw
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(SECRETS.to_vec()).prop_map(|(secret, _)| secret.to_owned()),
        prop::sample::select(vec!["\n", "\t", "/", "\\", "\"", " ", "n", "é", "Bearer ", "aws_secret_key=", "="]).prop_map(str::to_owned),
        Just("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()),
        any::<String>(),
    ]
}

proptest! {
    #[test]
    fn what_can_be_found_is_announced_in_raw_json(
        pieces in prop::collection::vec(piece(), 1..6),
        choices in prop::collection::vec(prop_oneof![8 => 1..4_u8, 1 => 0..1_u8], 1..20),
    ) {
        let text = pieces.concat();
        let raw = escaped(text.clone(), choices);
        let decoded: String = serde_json::from_str(&format!("\"{raw}\"")).unwrap();
        prop_assert_eq!(&decoded, &text);
        let detector = all();
        prop_assert!(detector.find(text.as_bytes()).is_empty() || detector.may_hold(raw.as_bytes()), "{}", raw);
    }

    // Only what an escape stands for may differ between the raw and the decoded text.
    #[test]
    fn addresses_of_any_script_are_announced(local in "[a-z\u{e9}\u{4e2d}]{1,3}", domain in "[a-z\u{e9}\u{4e2d}]{1,3}\\.[a-z\u{e9}\u{4e2d}]{2,3}") {
        let text = format!("{local}@{domain}");
        let raw = escaped(text.clone(), vec![3]).chars().map(|c| if c.is_ascii() { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) }).collect::<String>();
        prop_assert!(all().find(text.as_bytes()).is_empty() || all().may_hold(raw.as_bytes()), "{}", raw);
    }

    #[test]
    fn survives_anything(text in any::<Vec<u8>>(), pieces in prop::collection::vec(piece(), 0..6)) {
        for text in [text, pieces.concat().into_bytes()] {
            for finding in all().find(&text) {
                prop_assert!(!finding.range.is_empty() && finding.range.end <= text.len());
            }
        }
    }
}
