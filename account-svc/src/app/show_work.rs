//! What operators see of this service's own work: mails that have not left, registrations that have steps to go.

use std::sync::Arc;

use chassis::work::{Answered, Piece, WorkSource};
use uuid::Uuid;

use super::App;
use crate::store;

/// Both.
pub fn sources(app: &App) -> Vec<Arc<dyn WorkSource>> {
    vec![Arc::new(Mails(app.clone())), Arc::new(Registrations(app.clone()))]
}

struct Mails(App);

impl WorkSource for Mails {
    fn prefix(&self) -> &'static str {
        "mail"
    }

    fn list(&self, parked: Option<bool>, after: Option<Uuid>, limit: i64) -> Answered<'_, Vec<Piece>> {
        Box::pin(async move {
            store::mails::list_work(&mut *self.0.pool.acquire().await?, parked, after, limit).await
        })
    }

    fn retry(&self, id: Uuid) -> Answered<'_, Option<Piece>> {
        Box::pin(async move {
            let piece = store::mails::retry(&mut *self.0.pool.acquire().await?, id).await;
            self.0.nudge.notify_waiters();
            piece
        })
    }

    fn park(&self, id: Uuid, said: String) -> Answered<'_, Option<Piece>> {
        Box::pin(async move { store::mails::park(&mut *self.0.pool.acquire().await?, id, &said).await })
    }
}

struct Registrations(App);

impl WorkSource for Registrations {
    fn prefix(&self) -> &'static str {
        "registration"
    }

    fn list(&self, parked: Option<bool>, after: Option<Uuid>, limit: i64) -> Answered<'_, Vec<Piece>> {
        Box::pin(async move {
            store::registrations::list_work(&mut *self.0.pool.acquire().await?, parked, after, limit).await
        })
    }

    fn retry(&self, id: Uuid) -> Answered<'_, Option<Piece>> {
        Box::pin(async move {
            let piece = store::registrations::retry(&mut *self.0.pool.acquire().await?, id).await;
            self.0.nudge.notify_waiters();
            piece
        })
    }

    fn park(&self, id: Uuid, said: String) -> Answered<'_, Option<Piece>> {
        Box::pin(
            async move { store::registrations::park(&mut *self.0.pool.acquire().await?, id, &said).await },
        )
    }
}
