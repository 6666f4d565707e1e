"""Questions that no photo answers, family by family; only for measuring, never for calibrating.

`families` has fresh ones by default: those that were looked at while the method was chosen are
drawn by seed 0, and the sentences are the SEEN ones.
"""

# ruff: noqa: RUF001 - Turkish has a letter that looks like another

import random
import string
from collections.abc import Mapping, Sequence

UNSHOWABLE = """
the tangent of an angle
late fees on an overdue account
a corollary of the previous statement
unemployment fell in the third quarter
paragraph six was struck from the bill
the guarantee is void without a receipt
your session has timed out
a pointer to a freed object
the logarithm of a negative quantity
the agenda for Wednesday
the ablative case
expectations of lower prices
barriers to entry in a market
conservation of momentum
a reminder about the outstanding balance
subject to availability
his view on central banks
the origin of the phrase
a dual vector space
purchasing power parity
the call was postponed indefinitely
why would anyone believe that
an argument from ignorance
the melting point of lead
renew before the end of the month
a deadlock between two threads
the defendant waived the right to counsel
the metre of the second stanza
a surcharge for express delivery
the variance of the estimator
where do I change my preferences
a majority in the upper house
infringement of a trade mark
a vow of silence broken only once
the decay of a neutron
a reference in the bibliography
the tense of the verb
stock options for employees
a conjecture about primes
the accord expired last year
amortised over ten periods
exit status one
what I would have said
speculation about a takeover
a timeout after three attempts
the marginal rate of substitution
a lesson about humility
filing for insolvency
the grammar of a formal language
whether numbers exist
an expired key
a month's notice to the landlord
the result of the referendum
a cut in the base rate
the concept of fairness
a race condition in the scheduler
a motion to adjourn
tables omitted for lack of space
the null hypothesis
a fixed interest loan
the bandwidth of the channel
a deductible of five hundred
an undisclosed interest
the rank of the matrix
entries close at noon
no witness came forward
the third line of the couplet
an incorrect passphrase
a surplus of graduates
the genitive plural
a bounded sequence converges
shareholders voted against the proposal
an exemption from the rule
the key of F sharp minor
in response to your inquiry
the limitation period has run out
the margin of uncertainty
the average of the residuals
a bylaw against subletting
minutes approved without amendment
the sixth decimal place
a postponed decision about pensions
the etiquette of letters of complaint
a paradox of self reference
the accrued interest
a preposition at the end of a sentence
the eligibility criteria
a refund within fourteen days
the kinetic energy of an electron
an unsigned affidavit
the convergence of the series
a hyphen between two nouns
a tariff on imported steel
the plot of a novel nobody finished
an abstract class with no methods
a concession speech
the reliability of the witness
a patent that has lapsed
the solubility of salts
an overdraft limit
the passive voice
a tie in the vote
the derivative of demand with respect to price
an allusion to an earlier chapter
the notice period
a checksum mismatch
a cost estimate for the second phase
the transitive property
an annuity for life
""".strip().splitlines()
"""For the figures: written when the method stood, and asked for nothing but them."""

SEEN_UNSHOWABLE = """
the derivative of a polynomial
quarterly tax return deadline
the proof uses induction on the number of variables
interest rates rose by half a percentage point
article twelve of the constitution was amended
the warranty excludes consequential damages
please reset my password
a recursive function without a base case
the square root of minus one
annual general meeting minutes
the subjunctive mood in Latin
inflation expectations remain anchored
a monopoly on the supply of credit
the second law of thermodynamics
an unpaid invoice from last March
terms and conditions apply
my cousin's opinion on monetary policy
the etymology of the word nevertheless
a lemma about compact operators
gross domestic product per capita
the meeting was moved to Thursday
what did she mean by that
a philosophical argument against free will
the boiling point of nitrogen
your subscription expires tomorrow
an integer overflow in the parser
the plaintiff appealed the verdict
rhyming couplets in Persian verse
a discount of fifteen percent
the median of the distribution
how do I unsubscribe from this newsletter
the merits of proportional representation
copyright infringement by an unknown party
a promise that nobody kept
the average lifespan of a proton
a footnote on page ninety
the ambiguity of the pronoun
deferred compensation for executives
a theorem of Gauss
the treaty was never ratified
depreciation of intangible assets
error code forty two
the smell of the rain that fell before I was born
a rumour about a merger
an exponential backoff with jitter
the price elasticity of demand
the moral of the story
a declaration of bankruptcy
the syntax of regular expressions
why is there something rather than nothing
a certificate signed by an unknown authority
the half life of caesium
two weeks of notice
the year in which the census was held
an increase in the minimum wage
the meaning of justice
a memory leak in the kernel
the first amendment to the bylaws
an appendix with supplementary tables
the hypothesis was rejected
a mortgage with a variable rate
the frequency of the carrier wave
insurance covers the remaining amount
a conflict of interest
the inverse of a singular matrix
the deadline for submissions is midnight
an alibi for the evening
the cadence of a sonnet
nobody remembers the password
a shortage of skilled labour
the third declension of nouns
a random variable with finite variance
the board approved the dividend
a loophole in the regulation
the pitch of a diminished chord
a reply to your complaint
the statute of limitations
an estimate of the error
the phase of the signal
a preference for brevity
the version number of the library
sentences of exactly seven words
the ontology of abstract objects
a quorum was not reached
the currency was devalued
a verdict of not guilty
the melting of the sum of squares
expected value of a lottery
the opposite of a tautology
an unforeseen consequence of the reform
a lack of evidence
the exchange rate on Friday
the remainder after division by seven
an agreement in principle
the tone of the letter
a deduction for charitable gifts
the rest of the argument
the burden of proof
a rounding error in the ledger
the probability of ruin
a clause that binds the heirs
the semantics of assignment
an apology for the delay
the voltage across the capacitor
a thesis on medieval logic
the latency of the network
a subsidy for exports
the contents of my inbox
a question without an answer
the index of refraction
an oath of secrecy
the maturity of the bond
a misprint in the second edition
""".strip().splitlines()

FOREIGN = """
eine Katze schläft auf dem Sofa
ein Mann fährt mit dem Fahrrad durch den Wald
der Antrag wurde abgelehnt
wann beginnt die Vorstellung
die Miete wird zum Ersten überwiesen
un chat dort sur le canapé
un homme à vélo dans la forêt
la demande a été refusée
le loyer est payé d'avance
quelle heure est-il à Lyon
un gato duerme en el sofá
un hombre monta en bicicleta
la solicitud fue rechazada
el alquiler se paga por adelantado
un gatto dorme sul divano
un uomo in bicicletta nel bosco
la domanda è stata respinta
bir kedi kanepede uyuyor
ormanda bisiklet süren bir adam
başvuru reddedildi
een kat slaapt op de bank
de aanvraag is afgewezen
kot śpi na kanapie
wniosek został odrzucony
кошка спит на диване
мужчина едет на велосипеде по лесу
заявление отклонено
一只猫睡在沙发上
申请被拒绝了
猫がソファで眠っている
申請は却下された
قطة تنام على الأريكة
تم رفض الطلب
חתול ישן על הספה
μια γάτα κοιμάται στον καναπέ
kissa nukkuu sohvalla
hakemus hylättiin
en katt sover i soffan
ansökan avslogs
um gato dorme no sofá
o pedido foi recusado
egy macska alszik a kanapén
kočka spí na pohovce
paka analala kwenye kochi
kucing tidur di sofa
con mèo ngủ trên ghế
고양이가 소파에서 잔다
신청이 거절되었다
बिल्ली सोफे पर सो रही है
आवेदन अस्वीकार कर दिया गया
""".strip().splitlines()
"""For the figures, as UNSHOWABLE."""

SEEN_FOREIGN = """
ein Hund läuft durch den Schnee
zwei Kinder spielen am Strand
die Steuererklärung ist bis Freitag fällig
ich habe den Schlüssel im Büro vergessen
der Ausschuss vertagte die Entscheidung
wie viel kostet die Fahrkarte nach Köln
eine Frau mit rotem Hut auf der Straße
das Protokoll der letzten Sitzung
un chien court dans la neige
deux enfants jouent sur la plage
la réunion est reportée à mardi
je voudrais un renseignement
le conseil a approuvé le budget
une femme en robe bleue danse
l'horaire des trains du dimanche
il fait nuit depuis longtemps
un perro corre por la nieve
dos niños juegan en la playa
la factura vence el próximo lunes
no encuentro mis llaves
el tribunal rechazó la demanda
una mujer con sombrero rojo
mañana lloverá en el norte
la cuenta por favor
un cane corre nella neve
due bambini giocano sulla spiaggia
il treno parte alle otto
vorrei prenotare un tavolo
la scadenza del contratto
bir köpek karda koşuyor
iki çocuk sahilde oynuyor
toplantı salıya ertelendi
faturanın son ödeme tarihi
kırmızı şapkalı bir kadın
yarın hava nasıl olacak
een hond rent door de sneeuw
twee kinderen spelen op het strand
de vergadering is uitgesteld
pies biegnie po śniegu
dwoje dzieci bawi się na plaży
spotkanie przełożono na wtorek
собака бежит по снегу
двое детей играют на пляже
собрание перенесено на вторник
сколько стоит билет
женщина в красной шляпе
一只狗在雪地里奔跑
两个孩子在海滩上玩耍
会议改到星期二
请给我账单
犬が雪の中を走っている
二人の子供が浜辺で遊ぶ
会議は火曜日に延期された
税金の申告期限
كلب يركض في الثلج
طفلان يلعبان على الشاطئ
تم تأجيل الاجتماع
כלב רץ בשלג
ένας σκύλος τρέχει στο χιόνι
η συνάντηση αναβλήθηκε
koira juoksee lumessa
kokous siirrettiin tiistaihin
en hund springer i snön
mötet är uppskjutet
um cachorro corre na neve
a reunião foi adiada
kutya fut a hóban
az ülést elhalasztották
pes běží sněhem
schůze byla odložena
mbwa anakimbia kwenye theluji
mkutano umeahirishwa
anjing berlari di salju
rapat ditunda
con chó chạy trong tuyết
cuộc họp bị hoãn lại
개가 눈 속을 달린다
회의가 연기되었다
कुत्ता बर्फ में दौड़ता है
बैठक स्थगित कर दी गई
""".strip().splitlines()

RARE = """
syzygy|perihelion|boustrophedon|heteroscedasticity|eigenvalue|usufruct|tergiversation|zeugma
defenestration|hypotenuse|antidisestablishmentarianism|epistemology|sesquipedalian|amortisation
escrow|subpoena|mitochondrion|cryptography|jurisprudence|onomatopoeia|entropy|synecdoche
hermeneutics|isomorphism|plenipotentiary|oligopoly|phlogiston|quaternion|stoichiometry
thermocline|ultracrepidarian|vicissitude|xenolith|ytterbium|zymurgy|apocryphal|bicameral
concatenate|dysphoria|ergodic|fiduciary|gerrymander|homologous|idempotent|kerfuffle|lugubrious
manumission|nonagenarian|obfuscate|palimpsest|quixotic|recidivism|solipsism|tautology|uxorious
""".replace("\n", "|").strip("|").split("|")  # fmt: skip


def families(words: Mapping[str, int], seed: int = 1) -> dict[str, Sequence[str]]:
    """Return the families by name; `words` are those the model knows, with how often they occur.

    Salads are 3 to 8 of those words in random order: of all alike, or as often as captions
    have them, which makes questions that a photo may well fit in part.
    """
    draw = random.Random(seed)
    known = sorted(words)
    weights = [words[word] for word in known]
    return {
        "random letters": [_letters(draw) for _ in range(200)],
        "words out of vocabulary": [
            " ".join(draw.sample(RARE, draw.randint(1, 4))) for _ in range(100)
        ],
        "other languages": FOREIGN if seed else SEEN_FOREIGN,
        "what no photo shows": UNSHOWABLE if seed else SEEN_UNSHOWABLE,
        "salad of known words": [
            " ".join(draw.sample(known, draw.randint(3, 8))) for _ in range(200)
        ],
        "salad of frequent words": [
            " ".join(draw.choices(known, weights, k=draw.randint(3, 8))) for _ in range(200)
        ],
    }


def _letters(draw: random.Random) -> str:
    words = draw.randint(1, 6)
    return " ".join(
        "".join(draw.choices(string.ascii_lowercase, k=draw.randint(3, 9))) for _ in range(words)
    )
