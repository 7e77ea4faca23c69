-- The group or repository that an audit event is about; empty for the root. Null for an event that is no audit event.
ALTER TABLE event ADD COLUMN path TEXT;
