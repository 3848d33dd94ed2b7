//! Registration, on the official site (REGI-5) and from a marketplace (MK-2, MK-3): console account, billing account, cloud account, workspace, binding,
//! settlement method, as far as they are asked for. Each step is a transaction
//! of its own and may be repeated; an interrupted registration goes on at the first missing step (REGI-6, DEC-69).

use chassis::audit;
use chassis::auth::User;
use chassis::failure::{Failure, broken_constraint};
use chassis::fault;
use chassis::id::{
    BillingAccountId, ConsoleAccountId, RegistrationId, SubscriptionId, WorkspaceId, derived, uuid_at,
};
use chassis::money::Currency;
use chassis::site::Site;
use chassis::status::Refused;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use super::check_code::{Checked, CodeRejection, Proof, check_code, use_up};
use super::{App, hash_passwords};
use crate::domain::account_state::AccountState;
use crate::domain::billing_account::{BillingAccount, BillingProfile};
use crate::domain::code::{Purpose, Wanted};
use crate::domain::console_account::ConsoleAccount;
use crate::domain::email::Email;
use crate::domain::mail::{Language, Template};
use crate::domain::password::Password;
use crate::domain::registration::{BillingChoice, Landing, Plan, Registration, State, Step};
use crate::domain::session::Identity;
use crate::domain::username::Username;
use crate::store;
use crate::store::mails::Mail;
use crate::store::registrations::Request;

/// What a customer asks for.
#[derive(Debug, Clone)]
pub struct Register {
    /// Where.
    pub site: Site,
    /// The console account's identity.
    pub email: Email,
    /// Proves the address; with it an account that has it is used.
    pub email_code: Option<Proof>,
    /// Where the billing account comes from; its user name, and for an existing one its code.
    pub billing: Billing,
    /// The billing account's currency; None for the marketplace's, or the site's own.
    pub currency: Option<Currency>,
    /// What the workspace is called.
    pub workspace_name: String,
    /// Of the mails about it.
    pub language: Language,
    /// What the workspace is to be.
    pub plan: Plan,
    /// What the customer lands with from a marketplace.
    pub landing_token: Option<String>,
    /// The first password of both accounts.
    pub password: Option<Password>,
}

/// Where the billing account comes from.
#[derive(Debug, Clone)]
pub enum Billing {
    /// It is made.
    Create(Username),
    /// It is there, and agrees.
    Existing(Username, Proof),
    /// There is none.
    None,
}

/// Who asks, so that asking again goes on instead of beginning anew.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The caller's label.
    pub caller: String,
    /// Its request id.
    pub request_id: Uuid,
    /// Of the whole request.
    pub hash: [u8; 32],
}

/// Why a registration stops.
#[derive(Debug)]
pub enum RegisterRejection {
    /// Another console account of the site has the address.
    EmailTaken(Site),
    /// Another billing account has the name; the registration waits for another one.
    UsernameTaken(RegistrationId),
    /// There is no such registration.
    NotFound(RegistrationId),
    /// A name was given to a registration that has its billing account.
    NothingToName(RegistrationId),
    /// Another service refused a step for good.
    Refused(Box<Refused>),
    /// A code proves nothing.
    Code(CodeRejection),
    /// The landing token is none, or not any more: settlement-svc says why.
    Landing(Box<Refused>),
    /// The landing token has begun a registration.
    LandingUsed,
    /// The cloud account is registered in another billing account.
    CloudAccountTaken,
    /// What was bought is not active.
    SubscriptionEnded,
    /// The marketplace charges in another currency than the billing account.
    Currency {
        /// The account's.
        required: Currency,
        /// The marketplace's.
        given: Currency,
    },
}

type Outcome<T> = Result<T, Failure<RegisterRejection>>;

/// Begins a registration, or finds the one that this request began, and goes on with it.
pub async fn register(app: &App, asked: &Asked, command: Register) -> Outcome<Registration> {
    let password = command.password.clone();
    let id = match find(app, asked).await? {
        Some(id) => id,
        None => begin(app, asked, command).await?,
    };
    with_password(app, id, password).await
}

/// Sees to it that both names are taken before anything is hashed for them.
async fn reserve_username(app: &App, id: RegistrationId) -> Outcome<()> {
    match load(app, id).await?.next_step() {
        Step::BillingAccount => open_billing_account(app, id).await,
        Step::CloudAccount(..) | Step::Workspace | Step::Binding(..) | Step::Complete | Step::Done => Ok(()),
    }
}

/// Nothing is hashed for accounts that have their password: a repeat costs as little as any other. An existing billing account keeps its own.
async fn set_first_password(app: &App, id: RegistrationId, password: Password) -> Outcome<()> {
    let registration = load(app, id).await?;
    let billing = registration.billing_account_id.filter(|_| registration.billing == BillingChoice::Create);
    let console = registration.console_account_id;
    if !store::credentials::is_missing(&mut *app.pool.acquire().await?, console, billing).await? {
        return Ok(());
    }
    let hash = hash_passwords::hash(app, password).await?;
    fault::point("register.password_hashed");
    let mut tx = app.pool.begin().await?;
    store::credentials::set_first(&mut tx, console, billing, &hash).await?;
    tx.commit().await?;
    fault::point("register.password");
    Ok(())
}

/// Goes on with a registration, with another user name if one is given.
pub async fn resume(
    app: &App,
    id: RegistrationId,
    username: Option<Username>,
    password: Option<Password>,
) -> Outcome<Registration> {
    if let Some(username) = username {
        let mut tx = app.pool.begin().await?;
        let renamed = store::registrations::update_username(&mut tx, id, &username, State::Running).await?;
        if renamed == 0 {
            return Err(Failure::Rejected(match store::registrations::get(&mut tx, id).await? {
                Some(_) => RegisterRejection::NothingToName(id),
                None => RegisterRejection::NotFound(id),
            }));
        }
        audit::note(&mut tx, app.schema, "RegistrationService/Resume", &[id.to_string()]).await?;
        tx.commit().await?;
    }
    with_password(app, id, password).await
}

/// Goes on, and sets the password as soon as both names are taken.
async fn with_password(app: &App, id: RegistrationId, password: Option<Password>) -> Outcome<Registration> {
    store::registrations::unpark(&mut *app.pool.acquire().await?, id).await?;
    if let Some(password) = password {
        reserve_username(app, id).await?;
        set_first_password(app, id, password).await?;
    }
    go_on(app, id).await
}

async fn find(app: &App, asked: &Asked) -> Outcome<Option<RegistrationId>> {
    let mut connection = app.pool.acquire().await?;
    match store::registrations::find_by_request(&mut connection, &asked.caller, asked.request_id).await? {
        Some((_, hash)) if hash != asked.hash => Err(Failure::RequestIdReused(asked.request_id)),
        Some((id, _)) => Ok(Some(id)),
        None => Ok(None),
    }
}

/// What a registration begins with, asked and proven before anything is written.
struct Beginning {
    landing: Option<Landing>,
    currency: Currency,
    payer: Option<BillingAccountId>,
    codes: Vec<Checked>,
    address_proven: bool,
}

fn by_code(failure: Failure<CodeRejection>) -> Failure<RegisterRejection> {
    failure.map(RegisterRejection::Code)
}

/// An existing billing account that a code was right for.
async fn open_payer(app: &App, id: BillingAccountId) -> Outcome<BillingAccount> {
    let account = store::billing_accounts::get(&mut *app.pool.acquire().await?, id).await?;
    let open = account.filter(|account| account.state == AccountState::Open);
    open.ok_or(Failure::Rejected(RegisterRejection::Code(CodeRejection::Wrong)))
}

async fn prepare(app: &App, asked: &Asked, command: &Register) -> Outcome<Beginning> {
    let wanted = |identity_hash| Wanted {
        purpose: Purpose::Register,
        identity_hash,
        object: "",
        requester: "",
        request_id: asked.request_id,
    };
    let mut codes = Vec::new();
    if let Some(proof) = &command.email_code {
        let identity = Identity::Console(command.site, command.email.clone());
        codes.push(check_code(app, proof, &wanted(identity.hash())).await.map_err(by_code)?);
    }
    let payer = match &command.billing {
        Billing::Create(_) | Billing::None => None,
        Billing::Existing(username, proof) => {
            let identity = Identity::Billing(username.clone());
            let checked = check_code(app, proof, &wanted(identity.hash())).await.map_err(by_code)?;
            let Some(User::Billing(payer)) = checked.account else {
                return Err(Failure::Rejected(RegisterRejection::Code(CodeRejection::Wrong)));
            };
            codes.push(checked);
            Some(payer)
        }
    };
    let account = match payer {
        Some(id) => Some(open_payer(app, id).await?),
        None => None,
    };
    let chosen = account.map_or(command.currency, |account| Some(account.currency));
    let mut currency = chosen.unwrap_or(command.site.default_currency());
    let mut landing = None;
    if let Some(token) = &command.landing_token {
        let resolved = app.settlements.resolve(token).await;
        let resolved =
            resolved.map_err(|failure| failure.map(|no| RegisterRejection::Landing(Box::new(no))))?;
        if resolved.holder.is_some_and(|holder| Some(holder) != payer) {
            return Err(Failure::Rejected(RegisterRejection::CloudAccountTaken));
        }
        // What settlement-svc would refuse for good is refused before anything is made.
        if !resolved.is_active {
            return Err(Failure::Rejected(RegisterRejection::SubscriptionEnded));
        }
        currency = chosen.unwrap_or(resolved.currency);
        if currency != resolved.currency {
            let (required, given) = (currency, resolved.currency);
            return Err(Failure::Rejected(RegisterRejection::Currency { required, given }));
        }
        landing = Some(Landing {
            vendor: resolved.vendor,
            cloud_account_id: resolved.cloud_account_id,
            instance_id: resolved.instance_id,
            token_hash: Sha256::digest(token.as_bytes()).into(),
        });
    }
    let address_proven = command.email_code.is_some();
    Ok(Beginning { landing, currency, payer, codes, address_proven })
}

async fn begin(app: &App, asked: &Asked, command: Register) -> Outcome<RegistrationId> {
    let beginning = prepare(app, asked, &command).await?;
    let now = app.clock.now();
    let (billing, username) = match &command.billing {
        Billing::Create(username) => (BillingChoice::Create, Some(username.clone())),
        Billing::Existing(username, _) => (BillingChoice::Existing, Some(username.clone())),
        Billing::None => (BillingChoice::None, None),
    };
    let mut registration = Registration {
        registration_id: RegistrationId::new(now),
        site: command.site,
        username,
        currency: beginning.currency,
        workspace_name: command.workspace_name,
        language: command.language,
        plan: command.plan,
        billing,
        landing: beginning.landing,
        state: State::Running,
        console_account_id: ConsoleAccountId::new(now),
        billing_account_id: beginning.payer,
        subscription: None,
        workspace_id: None,
        bound_at: None,
        created_at: now,
        completed_at: None,
    };
    let mut tx = app.pool.begin().await?;
    for checked in &beginning.codes {
        use_up(&mut tx, checked, now).await.map_err(by_code)?;
    }
    if !take_address(&mut tx, &mut registration, command.email, beginning.address_proven).await? {
        tx.rollback().await?;
        // The one who took the address may have been this very request, on another connection.
        return find(app, asked).await?.ok_or(Failure::Rejected(RegisterRejection::EmailTaken(command.site)));
    }
    let request = Request { caller: asked.caller.clone(), request_id: asked.request_id, hash: asked.hash };
    let inserted = store::registrations::insert(&mut tx, &registration, &request).await;
    let inserted = inserted.map_err(|error| match broken_constraint(&error) {
        Some("registrations_landing_key") => Failure::Rejected(RegisterRejection::LandingUsed),
        _ => Failure::from(error),
    })?;
    if inserted {
        let made = [registration.registration_id.to_string(), registration.console_account_id.to_string()];
        audit::note(&mut tx, app.schema, "RegistrationService/Register", &made).await?;
    }
    if !inserted {
        tx.rollback().await?;
        let begun = find(app, asked).await?;
        return begun
            .ok_or_else(|| Failure::fatal(format!("request {} has no registration", asked.request_id)));
    }
    tx.commit().await?;
    fault::point("register.console_account");
    Ok(registration.registration_id)
}

/// Makes the console account, or takes the open one of the address when that was proven. False: the address is another's.
async fn take_address(
    connection: &mut PgConnection,
    registration: &mut Registration,
    email: Email,
    address_proven: bool,
) -> sqlx::Result<bool> {
    let (site, found) = (registration.site, store::console_accounts::find_by_email);
    if address_proven && let Some(account) = found(&mut *connection, site, &email).await? {
        registration.console_account_id = account.console_account_id;
        return Ok(account.state == AccountState::Open);
    }
    let account = ConsoleAccount {
        console_account_id: registration.console_account_id,
        site,
        email,
        display_name: String::new(),
        phone: None,
        state: AccountState::Open,
        created_at: registration.created_at,
    };
    store::console_accounts::insert(connection, &account).await
}

/// Does the missing steps, one after the other.
pub async fn go_on(app: &App, id: RegistrationId) -> Outcome<Registration> {
    loop {
        let registration = load(app, id).await?;
        match registration.next_step() {
            Step::BillingAccount => open_billing_account(app, id).await?,
            Step::CloudAccount(payer, landing) => bind_cloud_account(app, id, payer, &landing).await?,
            Step::Workspace => create_workspace(app, &registration).await?,
            Step::Binding(workspace, payer, bought) => {
                if let Some(bought) = bought {
                    activate(app, id, (workspace, payer), bought).await?;
                }
                bind(app, id, workspace, payer).await?;
            }
            Step::Complete => complete(app, &registration).await?,
            Step::Done => return Ok(registration),
        }
    }
}

async fn load(app: &App, id: RegistrationId) -> Outcome<Registration> {
    let mut connection = app.pool.acquire().await?;
    let found = store::registrations::get(&mut connection, id).await?;
    found.ok_or(Failure::Rejected(RegisterRejection::NotFound(id)))
}

async fn open_billing_account(app: &App, id: RegistrationId) -> Outcome<()> {
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    let Some(registration) = store::registrations::get_for_update(&mut tx, id).await? else {
        return Err(Failure::Rejected(RegisterRejection::NotFound(id)));
    };
    if registration.billing_account_id.is_some() {
        return Ok(());
    }
    let Some(username) = registration.username.clone() else {
        return Err(chassis::bug!("{id} is to have a billing account without a user name"));
    };
    let console = store::console_accounts::get(&mut tx, registration.console_account_id).await?;
    let account = BillingAccount {
        billing_account_id: BillingAccountId::new(now),
        username: username.clone(),
        currency: registration.currency,
        email: console.map(|account| account.email),
        phone: None,
        profile: BillingProfile::default(),
        enterprise: None,
        state: AccountState::Open,
        created_at: now,
    };
    if store::billing_accounts::insert(&mut tx, &account).await? {
        store::registrations::update_billing_account(&mut tx, id, account.billing_account_id).await?;
        tx.commit().await?;
        fault::point("register.billing_account");
        return Ok(());
    }
    store::registrations::update_username(&mut tx, id, &username, State::UsernameTaken).await?;
    tx.commit().await?;
    Err(Failure::Rejected(RegisterRejection::UsernameTaken(id)))
}

async fn create_workspace(app: &App, registration: &Registration) -> Outcome<()> {
    let id = registration.registration_id;
    let request_id = derived(id.uuid(), "workspace");
    let owner = registration.console_account_id;
    let described = (registration.workspace_name.as_str(), registration.language);
    let created = app.workspaces.create(request_id, owner, described, registration.site).await;
    let workspace_id: WorkspaceId = created.map_err(refused)?;
    fault::point("register.workspace_made");
    let mut connection = app.pool.acquire().await?;
    if store::registrations::update_workspace(&mut connection, id, workspace_id).await? == 0 {
        return Err(Failure::fatal(format!("{id} has another workspace than {workspace_id}")));
    }
    fault::point("register.workspace");
    Ok(())
}

fn refused(failure: Failure<Refused>) -> Failure<RegisterRejection> {
    failure.map(|refused| RegisterRejection::Refused(Box::new(refused)))
}

async fn bind_cloud_account(
    app: &App,
    id: RegistrationId,
    payer: BillingAccountId,
    landing: &Landing,
) -> Outcome<()> {
    let request_id = derived(id.uuid(), "cloud account");
    let bound = app.settlements.bind(request_id, payer, landing).await.map_err(refused)?;
    fault::point("register.cloud_account_bound");
    let mut connection = app.pool.acquire().await?;
    if store::registrations::update_subscription(&mut connection, id, bound).await? == 0 {
        return Err(Failure::fatal(format!("{id} has another subscription than {bound}")));
    }
    fault::point("register.cloud_account");
    Ok(())
}

async fn bind(app: &App, id: RegistrationId, workspace: WorkspaceId, payer: BillingAccountId) -> Outcome<()> {
    let request_id = derived(id.uuid(), "binding");
    let from = app.workspaces.bind(request_id, workspace, payer).await.map_err(refused)?;
    fault::point("register.bound");
    store::registrations::mark_bound(&mut *app.pool.acquire().await?, id, from).await?;
    fault::point("register.binding");
    Ok(())
}

async fn activate(
    app: &App,
    id: RegistrationId,
    joined: (WorkspaceId, BillingAccountId),
    subscription: SubscriptionId,
) -> Outcome<()> {
    let request_id = derived(id.uuid(), "method");
    app.settlements.activate(request_id, joined, subscription).await.map_err(refused)?;
    fault::point("register.activated");
    Ok(())
}

/// Says so, and mails the owner of a commercial workspace, once (PLAN-10).
async fn complete(app: &App, registration: &Registration) -> Outcome<()> {
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    let done = store::registrations::mark_complete(&mut tx, registration.registration_id, now).await?;
    if let Some(from) = registration.bound_at.filter(|_| done == 1) {
        let parameters = [
            ("workspace".to_owned(), registration.workspace_name.clone()),
            ("commercial_time".to_owned(), from.to_offset(chassis::civil::BILLING_OFFSET).to_string()),
        ];
        let mail = Mail {
            mail_id: uuid_at(now),
            account_id: Some(User::Console(registration.console_account_id).to_string()),
            address: None,
            template: Template::WorkspaceActivated,
            language: registration.language,
            parameters: parameters.into(),
            workspace: None,
            challenge_id: None,
            attempts: 0,
            created_at: now,
        };
        store::mails::insert(&mut tx, &mail).await?;
    }
    tx.commit().await?;
    Ok(())
}
