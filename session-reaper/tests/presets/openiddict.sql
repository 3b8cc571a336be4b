-- OpenIddict 6.0 with Entity Framework Core on Npgsql, derived from its entity configurations, with the default string keys.
-- Applications have only the column that tokens and authorizations refer to.

CREATE TABLE "OpenIddictApplications" (
    "Id" text NOT NULL,
    CONSTRAINT "PK_OpenIddictApplications" PRIMARY KEY ("Id")
);

CREATE TABLE "OpenIddictAuthorizations" (
    "Id"               text NOT NULL,
    "ApplicationId"    text,
    "ConcurrencyToken" varchar(50),
    "CreationDate"     timestamptz,
    "Properties"       text,
    "Scopes"           text,
    "Status"           varchar(50),
    "Subject"          varchar(400),
    "Type"             varchar(50),
    CONSTRAINT "PK_OpenIddictAuthorizations" PRIMARY KEY ("Id"),
    CONSTRAINT "FK_OpenIddictAuthorizations_OpenIddictApplications_Application~"
        FOREIGN KEY ("ApplicationId") REFERENCES "OpenIddictApplications" ("Id")
);

CREATE INDEX "IX_OpenIddictAuthorizations_ApplicationId_Status_Subject_Type"
    ON "OpenIddictAuthorizations" ("ApplicationId", "Status", "Subject", "Type");

CREATE TABLE "OpenIddictTokens" (
    "Id"               text NOT NULL,
    "ApplicationId"    text,
    "AuthorizationId"  text,
    "ConcurrencyToken" varchar(50),
    "CreationDate"     timestamptz,
    "ExpirationDate"   timestamptz,
    "Payload"          text,
    "Properties"       text,
    "RedemptionDate"   timestamptz,
    "ReferenceId"      varchar(100),
    "Status"           varchar(50),
    "Subject"          varchar(400),
    "Type"             varchar(50),
    CONSTRAINT "PK_OpenIddictTokens" PRIMARY KEY ("Id"),
    CONSTRAINT "FK_OpenIddictTokens_OpenIddictApplications_ApplicationId"
        FOREIGN KEY ("ApplicationId") REFERENCES "OpenIddictApplications" ("Id"),
    CONSTRAINT "FK_OpenIddictTokens_OpenIddictAuthorizations_AuthorizationId"
        FOREIGN KEY ("AuthorizationId") REFERENCES "OpenIddictAuthorizations" ("Id")
);

CREATE INDEX "IX_OpenIddictTokens_ApplicationId_Status_Subject_Type"
    ON "OpenIddictTokens" ("ApplicationId", "Status", "Subject", "Type");
CREATE INDEX "IX_OpenIddictTokens_AuthorizationId" ON "OpenIddictTokens" ("AuthorizationId");
CREATE UNIQUE INDEX "IX_OpenIddictTokens_ReferenceId" ON "OpenIddictTokens" ("ReferenceId");
