"""The database's schema, as steps that can be taken and taken back. Run before the services, never by one."""
