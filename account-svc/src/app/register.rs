//! Registration on the official site (REGI-5): console account, billing account, workspace, binding. Each step is a transaction
//! of its own and may be repeated; an interrupted registration goes on at the first missing step (REGI-6, DEC-69).

use chassis::clock::Clock;
use chassis::failure::Failure;
use chassis::fault;
use chassis::id::{BillingAccountId, ConsoleAccountId, RegistrationId, WorkspaceId, derived};
use chassis::money::Currency;
use chassis::site::Site;
use uuid::Uuid;

use super::{App, hash_passwords};
use crate::domain::account_state::AccountState;
use crate::domain::billing_account::{BillingAccount, BillingProfile};
use crate::domain::console_account::ConsoleAccount;
use crate::domain::email::Email;
use crate::domain::password::Password;
use crate::domain::registration::{Registration, State, Step};
use crate::domain::username::Username;
use crate::peers::workspaces::Refused;
use crate::store;
use crate::store::registrations::Request;

/// What a customer asks for.
#[derive(Debug, Clone)]
pub struct Register {
    /// Where.
    pub site: Site,
    /// The console account's identity.
    pub email: Email,
    /// The billing account's identity.
    pub username: Username,
    /// Its currency.
    pub currency: Currency,
    /// What the workspace is called.
    pub workspace_name: String,
    /// The first password of both accounts.
    pub password: Option<Password>,
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
    Refused(Refused),
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
        Step::Workspace | Step::Binding(..) | Step::Done => Ok(()),
    }
}

/// Nothing is hashed for accounts that have their password: a repeat costs as little as any other.
async fn set_first_password(app: &App, id: RegistrationId, password: Password) -> Outcome<()> {
    let registration = load(app, id).await?;
    let Some(billing) = registration.billing_account_id else {
        return Err(chassis::bug!("{id} has no billing account"));
    };
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
        let mut connection = app.pool.acquire().await?;
        let renamed =
            store::registrations::update_username(&mut connection, id, &username, State::Running).await?;
        if renamed == 0 {
            return Err(Failure::Rejected(match store::registrations::get(&mut connection, id).await? {
                Some(_) => RegisterRejection::NothingToName(id),
                None => RegisterRejection::NotFound(id),
            }));
        }
    }
    with_password(app, id, password).await
}

/// Goes on, and sets the password as soon as both names are taken.
async fn with_password(app: &App, id: RegistrationId, password: Option<Password>) -> Outcome<Registration> {
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

async fn begin(app: &App, asked: &Asked, command: Register) -> Outcome<RegistrationId> {
    let now = app.clock.now();
    let account = ConsoleAccount {
        console_account_id: ConsoleAccountId::new(now),
        site: command.site,
        email: command.email,
        display_name: String::new(),
        phone: None,
        state: AccountState::Open,
        created_at: now,
    };
    let registration = Registration {
        registration_id: RegistrationId::new(now),
        site: command.site,
        username: command.username,
        currency: command.currency,
        workspace_name: command.workspace_name,
        state: State::Running,
        console_account_id: account.console_account_id,
        billing_account_id: None,
        workspace_id: None,
        created_at: now,
        completed_at: None,
    };
    let request = Request { caller: asked.caller.clone(), request_id: asked.request_id, hash: asked.hash };
    let mut tx = app.pool.begin().await?;
    if !store::console_accounts::insert(&mut tx, &account).await? {
        tx.rollback().await?;
        // The one who took the address may have been this very request, on another connection.
        return find(app, asked).await?.ok_or(Failure::Rejected(RegisterRejection::EmailTaken(command.site)));
    }
    if !store::registrations::insert(&mut tx, &registration, &request).await? {
        tx.rollback().await?;
        let begun = find(app, asked).await?;
        return begun
            .ok_or_else(|| Failure::fatal(format!("request {} has no registration", asked.request_id)));
    }
    tx.commit().await?;
    fault::point("register.console_account");
    Ok(registration.registration_id)
}

/// Does the missing steps, one after the other.
pub async fn go_on(app: &App, id: RegistrationId) -> Outcome<Registration> {
    loop {
        let registration = load(app, id).await?;
        match registration.next_step() {
            Step::BillingAccount => open_billing_account(app, id).await?,
            Step::Workspace => create_workspace(app, &registration).await?,
            Step::Binding(workspace, payer) => bind(app, id, workspace, payer).await?,
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
    let console = store::console_accounts::get(&mut tx, registration.console_account_id).await?;
    let account = BillingAccount {
        billing_account_id: BillingAccountId::new(now),
        username: registration.username.clone(),
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
    store::registrations::update_username(&mut tx, id, &registration.username, State::UsernameTaken).await?;
    tx.commit().await?;
    Err(Failure::Rejected(RegisterRejection::UsernameTaken(id)))
}

async fn create_workspace(app: &App, registration: &Registration) -> Outcome<()> {
    let id = registration.registration_id;
    let request_id = derived(id.uuid(), "workspace");
    let owner = registration.console_account_id;
    let created =
        app.workspaces.create(request_id, owner, &registration.workspace_name, registration.site).await;
    let workspace_id: WorkspaceId = created.map_err(|failure| failure.map(RegisterRejection::Refused))?;
    fault::point("register.workspace_made");
    let mut connection = app.pool.acquire().await?;
    if store::registrations::update_workspace(&mut connection, id, workspace_id).await? == 0 {
        return Err(Failure::fatal(format!("{id} has another workspace than {workspace_id}")));
    }
    fault::point("register.workspace");
    Ok(())
}

async fn bind(app: &App, id: RegistrationId, workspace: WorkspaceId, payer: BillingAccountId) -> Outcome<()> {
    let request_id = derived(id.uuid(), "binding");
    let bound = app.workspaces.bind(request_id, workspace, payer).await;
    bound.map_err(|failure| failure.map(RegisterRejection::Refused))?;
    fault::point("register.bound");
    complete(app, id, &app.clock).await
}

async fn complete(app: &App, id: RegistrationId, clock: &Clock) -> Outcome<()> {
    let mut connection = app.pool.acquire().await?;
    store::registrations::mark_complete(&mut connection, id, clock.now()).await?;
    Ok(())
}
