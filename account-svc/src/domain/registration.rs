//! A customer's way in, and which step is missing.

use chassis::id::{BillingAccountId, ConsoleAccountId, RegistrationId, SubscriptionId, WorkspaceId};
use chassis::money::Currency;
use chassis::site::Site;
use time::OffsetDateTime;

use super::mail::Language;
use super::username::Username;

/// A registration and how far it came.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Its id.
    pub registration_id: RegistrationId,
    /// Where.
    pub site: Site,
    /// The user name that was asked for last; None without a billing account.
    pub username: Option<Username>,
    /// The billing account's currency.
    pub currency: Currency,
    /// The workspace's name.
    pub workspace_name: String,
    /// Of the mails about it.
    pub language: Language,
    /// What the workspace is to be.
    pub plan: Plan,
    /// Where the billing account comes from.
    pub billing: BillingChoice,
    /// What the customer bought on a marketplace; None on the official site.
    pub landing: Option<Landing>,
    /// Whether steps are missing.
    pub state: State,
    /// Step 1.
    pub console_account_id: ConsoleAccountId,
    /// Step 2, unless there is to be none.
    pub billing_account_id: Option<BillingAccountId>,
    /// Step 3, for what was bought: the subscription is bound.
    pub subscription: Option<SubscriptionId>,
    /// Step 4.
    pub workspace_id: Option<WorkspaceId>,
    /// Step 5, unless it is a trial: the binding is made.
    pub bound_at: Option<OffsetDateTime>,
    /// When it began.
    pub created_at: OffsetDateTime,
    /// The last step is done.
    pub completed_at: Option<OffsetDateTime>,
}

/// A purchase that a customer lands with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landing {
    /// At which vendor: "AWS".
    pub vendor: String,
    /// Who bought there.
    pub cloud_account_id: String,
    /// What.
    pub instance_id: String,
    /// Of the landing token: it begins one registration.
    pub token_hash: [u8; 32],
}

/// What a workspace is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Bound, and commercial from the next full hour.
    Commercial,
    /// A trial, unbound.
    Trial,
}

/// Where the billing account comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BillingChoice {
    /// It is made.
    Create,
    /// It is there, and was proven.
    Existing,
    /// There is none.
    None,
}

/// Whether steps are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Yes.
    Running,
    /// Yes, and it waits for another user name.
    UsernameTaken,
    /// No.
    Complete,
}

/// The first missing step (DEC-69).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make the billing account.
    BillingAccount,
    /// Bind what was bought to it.
    CloudAccount(BillingAccountId, Landing),
    /// Make the workspace.
    Workspace,
    /// Have it settled by what was bought, if anything was, and bind it then: no day is the payer's before its method is known.
    Binding(WorkspaceId, BillingAccountId, Option<SubscriptionId>),
    /// Nothing but to say so.
    Complete,
    /// None is missing.
    Done,
}

impl Registration {
    /// What is to be done next.
    pub fn next_step(&self) -> Step {
        if self.state == State::Complete {
            return Step::Done;
        }
        let Some(payer) = self.billing_account_id else {
            return match (self.billing, self.workspace_id) {
                (BillingChoice::Create | BillingChoice::Existing, _) => Step::BillingAccount,
                (BillingChoice::None, None) => Step::Workspace,
                (BillingChoice::None, Some(_)) => Step::Complete,
            };
        };
        match (&self.landing, self.subscription, self.workspace_id) {
            (Some(landing), None, _) => Step::CloudAccount(payer, landing.clone()),
            (_, _, None) => Step::Workspace,
            (_, subscription, Some(workspace)) => match (self.plan, self.bound_at) {
                (Plan::Commercial, None) => Step::Binding(workspace, payer, subscription),
                (Plan::Trial, _) | (Plan::Commercial, Some(_)) => Step::Complete,
            },
        }
    }
}

impl Plan {
    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Commercial => "COMMERCIAL",
            Self::Trial => "TRIAL",
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Commercial, Self::Trial].into_iter().find(|plan| plan.word() == word)
    }
}

impl BillingChoice {
    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Existing => "EXISTING",
            Self::None => "NONE",
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Create, Self::Existing, Self::None].into_iter().find(|choice| choice.word() == word)
    }
}

impl State {
    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::UsernameTaken => "USERNAME_TAKEN",
            Self::Complete => "COMPLETE",
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Running, Self::UsernameTaken, Self::Complete].into_iter().find(|state| state.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;
    use uuid::Uuid;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-26 02:00 UTC);

    fn registration(plan: Plan, billing: BillingChoice, landing: Option<Landing>) -> Registration {
        Registration {
            registration_id: RegistrationId::from_uuid(Uuid::from_u128(1)),
            site: Site::from_word("CN1_HANGZHOU").unwrap(),
            username: None,
            currency: Currency::Cny,
            workspace_name: "x".into(),
            language: Language::Zh,
            plan,
            billing,
            landing,
            state: State::Running,
            console_account_id: ConsoleAccountId::from_uuid(Uuid::from_u128(2)),
            billing_account_id: None,
            subscription: None,
            workspace_id: None,
            bound_at: None,
            created_at: NOW,
            completed_at: None,
        }
    }

    /// Takes steps until none is missing, and names them.
    fn walk(mut registration: Registration) -> Vec<&'static str> {
        let mut steps = Vec::new();
        loop {
            match registration.next_step() {
                Step::BillingAccount => {
                    steps.push("billing account");
                    registration.billing_account_id = Some(BillingAccountId::from_uuid(Uuid::from_u128(3)));
                }
                Step::CloudAccount(..) => {
                    steps.push("cloud account");
                    registration.subscription = Some(SubscriptionId::from_uuid(Uuid::from_u128(4)));
                }
                Step::Workspace => {
                    steps.push("workspace");
                    registration.workspace_id = Some(WorkspaceId::from_uuid(Uuid::from_u128(5)));
                }
                Step::Binding(_, _, bought) => {
                    steps.push(if bought.is_some() { "method and binding" } else { "binding" });
                    registration.bound_at = Some(NOW);
                }
                Step::Complete => registration.state = State::Complete,
                Step::Done => return steps,
            }
        }
    }

    #[test]
    fn every_branch_takes_its_steps_in_order_and_ends() {
        let landing = || {
            Some(Landing {
                vendor: "AWS".into(),
                cloud_account_id: "1".into(),
                instance_id: "2".into(),
                token_hash: [0; 32],
            })
        };
        let official = registration(Plan::Commercial, BillingChoice::Create, None);
        assert_eq!(walk(official), ["billing account", "workspace", "binding"]);
        let vendor = registration(Plan::Commercial, BillingChoice::Create, landing());
        assert_eq!(walk(vendor), ["billing account", "cloud account", "workspace", "method and binding"]);
        let mut existing = registration(Plan::Commercial, BillingChoice::Existing, landing());
        existing.billing_account_id = Some(BillingAccountId::from_uuid(Uuid::from_u128(3)));
        assert_eq!(walk(existing), ["cloud account", "workspace", "method and binding"]);
        assert_eq!(walk(registration(Plan::Trial, BillingChoice::None, None)), ["workspace"]);
        let both = registration(Plan::Trial, BillingChoice::Create, None);
        assert_eq!(walk(both), ["billing account", "workspace"]);
    }
}
