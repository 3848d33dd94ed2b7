-- Mails that are about a workspace, whose name and language are asked for when they leave.
-- Locks: adding a nullable column locks mails for a moment. Size: as before.

alter table account.mails add column workspace_id uuid;
comment on column account.mails.workspace_id is 'What it is about; null where the sender gave name and language, or it is about none';
