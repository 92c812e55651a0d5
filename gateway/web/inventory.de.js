/** The data inventory in German, by the sentences of the gateway. What is missing here is shown as it is there. */
export default {
  Category: 'Kategorie',
  Privacy: 'Schutzklasse',
  Fields: 'Felder',
  Purpose: 'Zweck',
  Source: 'Herkunft',
  'Held in': 'Wo gespeichert',
  'Held for': 'Wie lange',
  'Seen by': 'Wer es sieht',

  neutral: 'neutral',
  personal: 'personenbezogen',
  realtime: 'Echtzeitdaten',
  credential: 'Zugangsdaten',

  'show supervisors and agents whom contacts can be routed to, and let them change it':
    'Supervisoren und Agenten zeigen, an wen Kontakte vermittelt werden können, und es sie ändern lassen',
  'show the state of queues': 'den Zustand von Warteschlangen zeigen',
  'show the state of groups': 'den Zustand von Gruppen zeigen',
  'show figures over several queues': 'Kennzahlen über mehrere Warteschlangen zeigen',
  'show which functions of the contact centre work': 'zeigen, welche Funktionen des Contact Centers arbeiten',
  'show users their own account and rights': 'den Benutzern ihr Konto und ihre Rechte zeigen',
  'name skills': 'Skills benennen',
  'name reasons of routing states': 'Gründe von Routing-Zuständen benennen',
  'name routing parameters and their bounds': 'Routing-Parameter und ihre Grenzen benennen',
  'log on to the contact centre': 'am Contact Center anmelden',
  'let the phone come back without a log-on': 'das Gerät ohne neue Anmeldung zurückkehren lassen',
  'route contacts to a Remote Assistant': 'Kontakte an einen Remote Assistant vermitteln',
  "distinguish the user's sessions, keep one socket per device, refuse apps that are too old":
    'die Sitzungen des Benutzers unterscheiden, je Gerät nur eine Verbindung halten, zu alte Apps abweisen',
  'limit connections and log-ons for each address': 'Verbindungen und Anmeldungen je Adresse begrenzen',
  'stop the guessing of passwords before the account is locked':
    'das Raten von Passwörtern beenden, bevor das Konto gesperrt wird',
  'let a person log on from a device of their own while others guess the password':
    'jemanden vom eigenen Gerät anmelden, während andere das Passwort raten',
  'refuse the tokens of sessions that have ended, and show the phone why and by whom':
    'Token beendeter Sitzungen abweisen und dem Gerät zeigen, warum und durch wen sie endeten',
  'prevent that a command is carried out twice': 'verhindern, dass ein Befehl zweimal ausgeführt wird',
  'operate the gateway and find faults': 'das Gateway betreiben und Fehler finden',
  'account for changes of remote numbers and for acts of operators':
    'Änderungen von Rufnummern und Eingriffe der Betreiber nachweisen',
  'confirm every log-off, so that no number stays routed after it':
    'jede Abmeldung bestätigen, damit danach an keine Rufnummer mehr vermittelt wird',
  'store equal ids and views once, however many phones use them':
    'gleiche Kennungen und Ansichten nur einmal speichern, gleich wie viele Geräte sie nutzen',
  'limit changes of a remote number to three an hour': 'eine Rufnummer höchstens dreimal je Stunde ändern lassen',
  'keep exactly one link per user, and find the node that has it':
    'je Benutzer genau eine Verbindung zum Contact Center halten und den Knoten finden, der sie hat',
  'at a site that is an Asterisk: keep sessions over restarts, and route calls to a Remote Assistant':
    'an einem Standort mit Asterisk: Sitzungen über Neustarts behalten und Anrufe an einen Remote Assistant vermitteln',
  'at a site that is an Asterisk: decide who may log on, and what each person may see':
    'an einem Standort mit Asterisk: entscheiden, wer sich anmelden darf und was jede Person sieht',
  'find a fault together with a supporter of the gateway':
    'einen Fehler zusammen mit dem Support des Gateways finden',
  'see where log-ons, commands and takeovers lose time':
    'sehen, wo Anmeldungen, Befehle und Übernahmen Zeit verlieren',

  "the contact centre, over the user's own link":
    'das Contact Center, über die eigene Verbindung des Benutzers',
  'the user, at log-on': 'der Benutzer, bei der Anmeldung',
  "the contact centre's answer to the log-on": 'die Antwort des Contact Centers auf die Anmeldung',
  'the phone, at log-on': 'das Gerät, bei der Anmeldung',
  'the network': 'das Netz',
  'failed log-ons': 'fehlgeschlagene Anmeldungen',
  'log-ons that succeeded': 'gelungene Anmeldungen',
  'the user, a supervisor, or the contact centre': 'der Benutzer, ein Supervisor oder das Contact Center',
  "the user's commands": 'die Befehle des Benutzers',
  'the gateway': 'das Gateway',
  'log-offs that the contact centre did not confirm': 'Abmeldungen, die das Contact Center nicht bestätigt hat',
  "tokens, and the contact centre's answers": 'Token und Antworten des Contact Centers',
  'the administrator of the gateway': 'der Administrator des Gateways',
  "the operator's command": 'der Befehl des Betreibers',
  'the gateway, only with the extra otel and tracing.endpoint; for a log-on the phone may choose the trace_id':
    'das Gateway, nur mit der Erweiterung otel und tracing.endpoint; bei einer Anmeldung kann das Gerät die trace_id wählen',

  'memory of the nodes that serve the user; sealed between nodes; on no disk, in no log':
    'im Speicher der Knoten, die den Benutzer bedienen; zwischen Knoten versiegelt; auf keiner Platte, in keinem Log',
  'memory of the node that serves the request': 'im Speicher des Knotens, der die Anfrage bedient',
  'the phone, sealed; memory of the nodes that serve the session':
    'auf dem Gerät, versiegelt; im Speicher der Knoten, die die Sitzung bedienen',
  "the token; memory of the node that serves the phone; the contact centre's list of sessions":
    'im Token; im Speicher des Knotens, der das Gerät bedient; in der Sitzungsliste des Contact Centers',
  'memory of the node; keyed hashes in Redis; truncated in logs':
    'im Speicher des Knotens; als Hash mit Schlüssel in Redis; gekürzt in Logs',
  'keyed hashes in memory and Redis, with a count': 'als Hash mit Schlüssel im Speicher und in Redis, mit einer Anzahl',
  'one keyed hash of the three in Redis, or in memory of a single node':
    'ein Hash mit Schlüssel über alle drei, in Redis oder im Speicher eines einzelnen Knotens',
  'keyed hashes in memory of the nodes, with the reason and who ended the session; in Redis a keyed hash and the reason, sealed':
    'als Hash mit Schlüssel im Speicher der Knoten, mit dem Grund und wer die Sitzung beendet hat; in Redis ein Hash mit Schlüssel und der Grund, versiegelt',
  "memory of the node with the link, with a hash of the command's body":
    'im Speicher des Knotens mit der Verbindung, mit einem Hash des Befehls',
  'one log line at the end of each connection, with a keyed hash of the user, without content; the last 10,000 of them in memory of the node, and the last 500 other log lines, which name users by the same hash':
    'eine Logzeile am Ende jeder Verbindung, mit einem Hash des Benutzers mit Schlüssel, ohne Inhalte; die letzten 10.000 davon im Speicher des Knotens, dazu die letzten 500 anderen Logzeilen, die Benutzer mit demselben Hash nennen',
  'one numbered log line for each act, with a keyed hash of the user and the last 3 digits of a number':
    'eine nummerierte Logzeile je Eingriff, mit einem Hash des Benutzers mit Schlüssel und den letzten 3 Ziffern einer Rufnummer',
  'memory of the node that retries it; sealed in Redis, without any name':
    'im Speicher des Knotens, der sie wiederholt; versiegelt in Redis, ohne jeden Namen',
  'memory of the node, without names': 'im Speicher des Knotens, ohne Namen',
  'memory of the node with the link; for log-ons, keyed hashes in memory and Redis; the number itself is not kept here':
    'im Speicher des Knotens mit der Verbindung; für Anmeldungen als Hash mit Schlüssel im Speicher und in Redis; die Rufnummer selbst steht hier nicht',
  'keyed hashes as names in Redis; memory of the nodes':
    'Hashes mit Schlüssel als Namen in Redis; im Speicher der Knoten',
  'the database of the Asterisk (AstDB), on its disk: the families oscc-session, oscc-number and oscc-until; memory of the nodes':
    'in der Datenbank des Asterisk (AstDB), auf seiner Platte: die Familien oscc-session, oscc-number und oscc-until; im Speicher der Knoten',
  'the file that sites.asterisk.people_file names; memory of the nodes':
    'in der Datei, die sites.asterisk.people_file nennt; im Speicher der Knoten',
  'a file that an operator requested and saw before; about people it has the content of session_log':
    'in einer Datei, die ein Betreiber angefordert und vorher gesehen hat; über Personen enthält sie den Inhalt von session_log',
  'memory of the node, then the collector that the operator chose; without user, session, device, name, number or address':
    'im Speicher des Knotens, dann im Kollektor, den der Betreiber gewählt hat; ohne Benutzer, Sitzung, Gerät, Namen, Rufnummer oder Adresse',

  "while the user's link is open: at most 90 s after their last device left, 15 min for a Remote Assistant (up to 3 min more on a node that does not get its core)":
    'solange die Verbindung des Benutzers offen ist: höchstens 90 s nach dem Ende seines letzten Geräts, 15 min bei einem Remote Assistant (auf einem Knoten, der zu wenig Rechenzeit bekommt, bis zu 3 min länger)',
  'one request': 'eine Anfrage lang',
  'the life of the session at the contact centre; at the phone until log-off':
    'solange die Sitzung am Contact Center besteht; auf dem Gerät bis zur Abmeldung',
  'until the log-off is confirmed or the session ends': 'bis die Abmeldung bestätigt ist oder die Sitzung endet',
  'the life of the session': 'solange die Sitzung besteht',
  'minutes; the count of its log-ons up to 10 h; in logs as long as the operator keeps them':
    'Minuten; die Anzahl ihrer Anmeldungen bis zu 10 h; in Logs, solange der Betreiber sie aufbewahrt',
  'at most one day after the last failure': 'höchstens einen Tag nach dem letzten Fehlschlag',
  '14 days': '14 Tage',
  "one day longer than the token's life: until then it may be shown for a log-off":
    'einen Tag länger, als das Token gilt: bis dahin kann es für eine Abmeldung vorgelegt werden',
  '10 min': '10 min',
  'as long as the operator keeps logs; in memory 24 h, removed at the next end of a connection or request for them, at most until the node ends':
    'solange der Betreiber Logs aufbewahrt; im Speicher 24 h, entfernt beim nächsten Ende einer Verbindung oder bei der nächsten Abfrage, höchstens bis der Knoten endet',
  'as long as the operator keeps logs': 'solange der Betreiber Logs aufbewahrt',
  'until it is confirmed, at most the life of the session; its confirmation for 20 min, as a hash':
    'bis sie bestätigt ist, höchstens solange die Sitzung besteht; ihre Bestätigung 20 min, als Hash',
  'until newer ones replace them, at most until the node ends':
    'bis neuere sie ersetzen, höchstens bis der Knoten endet',
  '1 h': '1 h',
  'seconds to minutes, the last epoch 30 days: each expires in Redis by itself; in memory while it is used':
    'Sekunden bis Minuten, die letzte Epoche 30 Tage: jeder läuft in Redis von selbst ab; im Speicher, solange er gebraucht wird',
  "until log-off, the idle timeout or the end of the session's life":
    'bis zur Abmeldung, bis zum Ablauf wegen Untätigkeit oder bis zum Ende der Sitzung',
  'until the administrator removes the person': 'bis der Administrator die Person entfernt',
  'until its holder deletes it; the date of expiry stands in it':
    'bis ihr Besitzer sie löscht; das Ablaufdatum steht darin',
  "seconds; as long as the collector's operator keeps it":
    'Sekunden; solange der Betreiber des Kollektors es aufbewahrt',

  "the user's own sessions, within the scope that the contact centre grants":
    'die eigenen Sitzungen des Benutzers, so weit das Contact Center es erlaubt',
  'the contact centre': 'das Contact Center',
  'nobody: only nodes can open it': 'niemand: nur Knoten können es öffnen',
  "the contact centre; the user's Remote Assistant; the user's other sessions, masked to 3 digits":
    'das Contact Center; der Remote Assistant des Benutzers; seine anderen Sitzungen, bis auf 3 Ziffern verdeckt',
  'the user, in the list of their sessions': 'der Benutzer, in der Liste seiner Sitzungen',
  "operators, truncated; whole in an export of the user's data":
    'Betreiber, gekürzt; vollständig in einer Auskunft über die Daten des Benutzers',
  'nobody: hashes only': 'niemand: nur Hashes',
  'the phone whose token is refused: the reason and who ended its session':
    'das Gerät, dessen Token abgewiesen wird: den Grund und wer seine Sitzung beendet hat',
  'the session that sent the command': 'die Sitzung, die den Befehl geschickt hat',
  operators: 'Betreiber',
  'nobody; operators see the count': 'niemand; Betreiber sehen die Anzahl',
  nobody: 'niemand',
  'administrators of the Asterisk; AMI accounts with write=system':
    'Administratoren des Asterisk; AMI-Konten mit write=system',
  "administrators of the gateway's machines": 'Administratoren der Rechner des Gateways',
  'the recipients that the operator chooses': 'die Empfänger, die der Betreiber wählt',
  'operators of the collector; for a log-on the contact centre gets the trace_id':
    'Betreiber des Kollektors; bei einer Anmeldung bekommt das Contact Center die trace_id',
};
