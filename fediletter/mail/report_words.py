"""What servers say when they refuse, as data: phrases in five languages, codes of two platforms.

Phrases are compared with text that was lower-cased and freed of accents, addresses and links;
whole words only. `*` stands for any end of a word.

Sources: email.md BO-5, BO-6; RFC 3463, 7372, 7505; the public pages of the providers named.
"""

FULL = (
    # English
    "over quota|overquota|quota exceeded|exceeded quota|exceeds quota|exceeded storage|"
    "mailbox full|mailbox is full|mailbox for * is full|inbox is full|inbox full|out of storage|"
    "mailfolder is full|mailbox quota|storage quota|disk quota|disk full|exceeded * quota|"
    "insufficient storage|user has exhausted|not enough space|mailbox exceeded|quotaexceeded|"
    "user is over the quota|"
    # French
    "boite pleine|boite aux lettres pleine|boite * pleine|boite aux lettres est pleine|quota "
    "depasse|quota * depasse|depasse * quota|espace de stockage|"
    # German
    "postfach voll|postfach ist voll|mailbox voll|speicherplatz|kontingent|quote uberschritten|"
    # Spanish
    "buzon lleno|buzon * lleno|cuota excedida|cuota superada|excedido * cuota|"
    # Italian
    "casella piena|casella e piena|casella postale piena|quota superata|spazio esaurito"
)

# Said of a mailbox, not of us: one of the first, then one of the second close behind it.
MAILBOX = (
    "mailbox|account|recipient|user|inbox|address|"
    "compte|boite|destinataire|utilisateur|"
    "postfach|konto|empfanger|benutzer|"
    "buzon|cuenta|destinatario|usuario|"
    "casella|utente"
)
INACTIVE = (
    "disabled|inactive|suspended|locked|archived|blocked|deactivated|dormant|expired|frozen|"
    "desactive*|inactif|inactive|suspendu*|bloque*|archive*|verrouille*|ferme|"
    "deaktiviert|gesperrt|inaktiv|stillgelegt|"
    "deshabilitad*|inactiv*|suspendid*|bloquead*|desactivad*|"
    "disabilitat*|inattiv*|sospes*|bloccat*|disattivat*"
)
# Between the two: it is somebody else that is blocked.
NOT_THE_MAILBOX = (
    "server|sender|your|you|ip|by|from|policy|host|message|mail|email|content|"
    "expediteur|votre|vous|message|par|serveur|absender|ihre|remitente|su|mittente|tuo"
)

SENDER_SIDE = (
    "spam|spamming|spammer|spamhaus|spamcop|barracuda|blocked|blocking|block list|blocklist*|"
    "blacklist*|black list|listed|reputation|policy|policies|dmarc|spf|dkim|unauthenticated|"
    "authentication checks|not authenticated|rate limit*|ratelimit*|too many|unsolicited|"
    "user complaints|junk|phishing|virus|suspicious|banned|not authorized|"
    "reverse dns|ptr|rdns|bulk|poor|not accepting mail from|"
    "access from your|sender verify failed|sender rejected|sender denied|rejected for policy|"
    # French
    "pourriel|indesirable|liste noire|reputation|politique|trop de|bloque|bloquee|"
    "non authentifie|service refuse|"
    # German
    "richtlinie*|abgelehnt wegen|schwarze liste|zu viele|unerwunscht*|nicht authentifiziert|"
    "sperrliste|"
    # Spanish
    "correo no deseado|lista negra|reputacion|politica|demasiad*|bloqueado por|no autenticad*|"
    # Italian
    "posta indesiderata|lista nera|reputazione|politiche|troppi|troppe|non autenticat*|"
    "bloccato per"
)

RELAYING = (
    "relay access denied|relaying denied|relay denied|relay not permitted|not permitted to relay|"
    "unable to relay|cannot relay|relaying not allowed|relay not allowed|we do not relay|"
    "authentication required|authentication is required|must authenticate|login required|"
    "not logged in|sender address rejected: not owned|"
    "relais refuse|relais interdit|authentification requise|authentification necessaire|"
    "weiterleitung verweigert|relaying verboten|anmeldung erforderlich|"
    "autenticacion requerida|reenvio denegado|no se permite el reenvio|"
    "autenticazione richiesta|inoltro negato"
)

UNKNOWN_RECIPIENT = (
    # English
    "unknown user|user unknown|no such user|no such mailbox|no such recipient|no such person|"
    "no such address|no mailbox|does not exist|doesnt exist|do not exist|did not exist|not exist|"
    "not found|"
    "invalid recipient|recipient invalid|invalid mailbox|mailbox unavailable|unknown recipient|"
    "recipient unknown|unknown local part|unknown local-part|unknown address|address unknown|"
    "unknown or illegal alias|unknown account|recipnotfound|recipientnotfound|"
    "not listed in domino directory|not listed in public name|not our customer|bad address|"
    "bad destination mailbox|unrouteable address|unroutable address|"
    "user doesnt have|doesnt have * account|is not a known user|not a valid mailbox|"
    "not a valid recipient|no valid recipients|no account by that name|no user|"
    "isnt any|couldnt be found|could not be found|"
    "recipient not recognized|invalid address|mailbox not available|no longer valid|"
    "no longer available|no longer exists|"
    # French
    "inconnu|inconnue|utilisateur inconnu|destinataire inconnu|nexiste pas|nexiste plus|"
    "destinataire invalide|adresse invalide|adresse inconnue|introuvable|"
    "adresse d au moins un destinataire invalide|"
    # German
    "unbekannter empfanger|empfanger unbekannt|unbekannt|existiert nicht|nicht gefunden|"
    "kein postfach|ungultige adresse|ungultiger empfanger|"
    # Spanish
    "usuario desconocido|destinatario desconocido|no existe|no encontrado|direccion invalida|"
    "desconocido|no se encontro|"
    # Italian
    "utente sconosciuto|destinatario sconosciuto|sconosciuto|non esiste|non trovato|"
    "indirizzo non valido|inesistente"
)

# Looked at when no code stands anywhere.
TRY_LATER = (
    "timed out|time out|timeout exceeded|retry time not reached|connection refused|"
    "delivery time expired|maximum retry|message expired|queue too long|too long in the queue|"
    "could not connect|no route to host|network unreachable|too many hops|loop|"
    "delai depasse|delai d attente|zeituberschreitung|tiempo de espera|tempo scaduto"
)
WARNING_ONLY = (
    "still being retried|not yet been delivered|has not been delivered yet|"
    "will continue to be retried|will keep trying|this is a warning message only|warning message|"
    "you do not need to resend|no action is required|delivery delayed|delayed mail|"
    "temporarily deferred and will be retried|is delayed|est retardee|retardee|"
    "sera retente|verzogert|wird weiter versucht|retrasad*|ritardat*"
)

# The number behind OFR… or LPN…: Orange, La Poste and others on that platform (BO-6).
PLATFORM_POLICY = frozenset((*range(100, 300), *range(401, 406), 415, 421, 506, 510, 513, 517, 630))
PLATFORM_GONE = frozenset((416,))
PLATFORM_LATER = frozenset((505, 999))
PLATFORM_CONTENT = frozenset((514,))

# Subjects of automatic answers, only beside a null sender (email.md 9.2.5).
ABSENT = (
    "out of office|out of the office|automatic reply|auto reply|autoreply|auto-reply|autoresponse|"
    "automatic response|on vacation|vacation reply|away from|i am away|i am out|"
    "reponse automatique|message d absence|absence du bureau|absent du bureau|absence|"
    "je suis absent*|"
    "automatische antwort|abwesenheit*|abwesend|"
    "respuesta automatica|fuera de la oficina|ausente|"
    "risposta automatica|fuori ufficio|assente"
)
