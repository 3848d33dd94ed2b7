//! Mails: templates as files in two languages, filled with named parameters, each exactly once given.

use std::collections::BTreeMap;

use super::code::Purpose;

/// A language that mails are written in (REGI-9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Simplified Chinese.
    Zh,
    /// English.
    En,
}

impl Language {
    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Zh => "ZH",
            Self::En => "EN",
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Zh, Self::En].into_iter().find(|language| language.word() == word)
    }
}

/// What a mail says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// A code, with what it is for.
    Code(Purpose),
    /// Too many wrong codes.
    CodesPaused,
    /// A bill was made.
    BillIssued,
    /// A workspace is locked, and the countdown runs.
    LockCountdown,
    /// The countdown is over.
    Locked,
    /// A lock was lifted.
    Unlocked,
    /// The settlement method was switched.
    MethodSwitched,
    /// An item cost more than its threshold.
    HighConsumption,
    /// A workspace is commercial.
    WorkspaceActivated,
}

macro_rules! texts {
    ($language:expr, $name:literal) => {
        match $language {
            Language::Zh => include_str!(concat!("../../templates/", $name, ".zh.txt")),
            Language::En => include_str!(concat!("../../templates/", $name, ".en.txt")),
        }
    };
}

/// A mail that is filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    /// Its subject.
    pub subject: String,
    /// Its text.
    pub body: String,
}

/// What is wrong with the parameters of a mail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be exactly {}", .0.join(", "))]
pub struct WrongParameters(pub Vec<&'static str>);

impl Template {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let others = [
            Self::CodesPaused,
            Self::BillIssued,
            Self::LockCountdown,
            Self::Locked,
            Self::Unlocked,
            Self::MethodSwitched,
            Self::HighConsumption,
            Self::WorkspaceActivated,
        ];
        Purpose::ALL.into_iter().map(Self::Code).chain(others)
    }

    /// As it stands in the database.
    pub fn word(self) -> String {
        match self {
            Self::Code(purpose) => format!("CODE_{}", purpose.word()),
            Self::CodesPaused => "CODES_PAUSED".to_owned(),
            Self::BillIssued => "BILL_ISSUED".to_owned(),
            Self::LockCountdown => "LOCK_COUNTDOWN".to_owned(),
            Self::Locked => "LOCKED".to_owned(),
            Self::Unlocked => "UNLOCKED".to_owned(),
            Self::MethodSwitched => "METHOD_SWITCHED".to_owned(),
            Self::HighConsumption => "HIGH_CONSUMPTION".to_owned(),
            Self::WorkspaceActivated => "WORKSPACE_ACTIVATED".to_owned(),
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::all().find(|template| template.word() == word)
    }

    /// The names of its parameters.
    pub fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Code(_) => &["code", "object"],
            Self::CodesPaused => &["limit"],
            Self::BillIssued => &["amount", "currency", "usage_date", "workspace"],
            Self::LockCountdown => &["days_left", "final_date", "workspace"],
            Self::Locked | Self::Unlocked => &["workspace"],
            Self::MethodSwitched => &["vendor", "workspace"],
            Self::HighConsumption => &["amount", "currency", "item", "threshold", "usage_date", "workspace"],
            Self::WorkspaceActivated => &["commercial_time", "workspace"],
        }
    }

    fn text(self, language: Language) -> &'static str {
        match self {
            Self::Code(Purpose::SignIn) => texts!(language, "code_sign_in"),
            Self::Code(Purpose::SetPassword) => texts!(language, "code_set_password"),
            Self::Code(Purpose::Register) => texts!(language, "code_register"),
            Self::Code(Purpose::BindWorkspace) => texts!(language, "code_bind_workspace"),
            Self::Code(Purpose::ChangeEmailOld) => texts!(language, "code_change_email_old"),
            Self::Code(Purpose::ChangeEmailNew) => texts!(language, "code_change_email_new"),
            Self::Code(Purpose::ChangePhone) => texts!(language, "code_change_phone"),
            Self::CodesPaused => texts!(language, "codes_paused"),
            Self::BillIssued => texts!(language, "bill_issued"),
            Self::LockCountdown => texts!(language, "lock_countdown"),
            Self::Locked => texts!(language, "locked"),
            Self::Unlocked => texts!(language, "unlocked"),
            Self::MethodSwitched => texts!(language, "method_switched"),
            Self::HighConsumption => texts!(language, "high_consumption"),
            Self::WorkspaceActivated => texts!(language, "workspace_activated"),
        }
    }

    /// Whether these are its parameters, each with a value.
    pub fn check(self, parameters: &BTreeMap<String, String>) -> Result<(), WrongParameters> {
        if parameters.keys().map(String::as_str).eq(self.parameters().iter().copied()) {
            Ok(())
        } else {
            Err(WrongParameters(self.parameters().to_vec()))
        }
    }

    /// Fills it in. The first line of a text is the subject; values are never looked at for placeholders.
    pub fn fill(
        self,
        language: Language,
        parameters: &BTreeMap<String, String>,
    ) -> Result<Filled, WrongParameters> {
        self.check(parameters)?;
        let (subject, body) = self.text(language).split_once('\n').unwrap_or_default();
        Ok(Filled { subject: filled(subject, parameters), body: filled(body.trim_start(), parameters) })
    }
}

fn filled(text: &str, parameters: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let (name, behind) = after.split_once('}').unwrap_or((after, ""));
        out.push_str(parameters.get(name).map_or("", String::as_str));
        rest = behind;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn placeholders(text: &str) -> BTreeSet<&str> {
        text.split('{').skip(1).map(|part| part.split_once('}').expect("a closing brace").0).collect()
    }

    #[test]
    fn every_template_has_a_text_in_both_languages_with_exactly_its_placeholders() {
        let mut checked = 0;
        for template in Template::all() {
            let mut texts = Vec::new();
            for language in [Language::Zh, Language::En] {
                let text = template.text(language);
                let known: BTreeSet<_> = template.parameters().iter().copied().collect();
                let used = placeholders(text);
                assert!(used.is_subset(&known), "{template:?} {language:?}: {used:?}");
                let optional = BTreeSet::from(["object"]);
                assert!(known.difference(&used).all(|name| optional.contains(name)), "{template:?} {used:?}");
                let subject = text.lines().next().unwrap();
                assert!(!subject.is_empty() && subject.chars().count() <= 78, "{template:?}");
                assert!(text.lines().nth(1).unwrap().is_empty(), "{template:?}");
                texts.push(text);
                checked += 1;
            }
            assert_ne!(texts[0], texts[1]);
            assert!(texts[1].is_ascii(), "{template:?}");
            assert_eq!(Template::from_word(&template.word()), Some(template));
            assert!(template.parameters().is_sorted());
        }
        assert_eq!(checked, 30);
    }

    #[test]
    fn a_mail_is_filled_once_and_its_values_are_not_read_again() {
        let parameters = |workspace: &str| BTreeMap::from([("workspace".to_owned(), workspace.to_owned())]);
        let filled = Template::Unlocked.fill(Language::En, &parameters("{workspace}")).unwrap();
        assert!(filled.body.contains("{workspace}"), "{}", filled.body);
        assert!(!filled.subject.is_empty());
        let wrong = Template::Unlocked.fill(Language::En, &BTreeMap::new());
        assert_eq!(wrong, Err(WrongParameters(vec!["workspace"])));
        let mut more = parameters("x");
        more.insert("code".to_owned(), "1".to_owned());
        assert!(Template::Unlocked.check(&more).is_err());
    }
}
