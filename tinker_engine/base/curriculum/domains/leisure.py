"""Leisure, culture and sport: what customers of such places write about."""
# ruff: noqa: E501  # phrase lists read best one entry to a line

TEXT = """
# gym, fitness club
membership freeze, pause membership, hold my plan @memberships: {i want to|can i|is it possible to} {pause|freeze|put on hold} my membership {for a while|for two months|while i recover from an injury}; {i am injured|i have a broken ankle|i'm away all summer} and {won't be training|can't come in} so please {stop|suspend} the monthly fee
membership quit, leave the club, end membership @memberships: {how do i|i'd like to} {quit|leave} the gym {for good|at the end of the month|}; i'm {moving away|not using it any more} so {please end my contract|stop my subscription}
class schedule, timetable, class times @classes: {what time|when} {is|does} the {yoga|spinning|pilates|boxing} class {start|run} [day]; where can i {see|find} the {timetable|schedule} {of|for} {group lessons|classes}
class full, waiting list, no spots left @classes: the {yoga|spin|zumba} class is {always full|booked out} {how do i get a spot|can you add me to the waitlist}; {why are there|there are} never {places|spots} left in the evening class
broken machine, equipment fault, faulty treadmill @facilities: the {treadmill|rowing machine|leg press|cross trainer} {is broken|makes a horrible noise|has stopped working} {again|since last week|}; {one of the|two} {treadmills|bikes} {do not start|keep stopping} {can you fix it|please repair}
dirty changing room, hygiene, cleaning complaint @facilities: the {showers|changing rooms|toilets} {are filthy|smell awful|haven't been cleaned}; {nobody cleans|there is mould in} the {locker room|shower}
locker problem, stuck locker, locker key @facilities: i {can't open|lost the key to} my locker; {the lock on|someone forced} my locker {is jammed|and my things are gone}
personal trainer, coaching, one to one session @coaching: {i'd like to book|how much is|do you have} a {personal trainer|coach|one to one session}; {who can|can someone} {make|write} a training plan for me
opening hours, when are you open, holiday hours @front desk: {are you open|what are your hours} {on sundays|on bank holidays|[day]|over christmas}; {how late|until what time} {are you|is the gym} open {tonight|[day]}
guest pass, bring a friend, visitor entry @front desk: can i {bring a friend|take my sister along} {for free|once|}; {how much is|do you sell} {a day pass|a guest ticket}
entry barrier refused, door code fails, app check-in @front desk: the {turnstile|gate|door} {won't let me in|rejects my code|stays red}; my {entry code|fob|app pass} {stopped working|isn't read} at the {door|gate}
# cinema, film theatre
seat change, move seats, different row @box office: {can we|i want to} {swap|move} our seats {to the back row|closer together}; we {booked|chose} the wrong {row|seats}
film times, what is on, programme @information: what {films|movies} are {on|showing} [day]; when {is|does} the {late|last|first} {screening|show} {start|}
sound too loud, projection fault, bad screening @technical: the {sound was far too loud|picture was blurry|subtitles were missing} {in screen 3|during the whole film|}; {the film stopped|projector failed} half way and nobody came
snack order, popcorn, food counter @kiosk: the {popcorn|nachos} {was stale|were cold}; {do you have|are there} {vegan|gluten free} {snacks|hot dogs}
age rating, can my child watch, minimum age for film @information: is {this film|the movie} {ok|suitable} for {a 9 year old|my little daughter}; {can i bring|may} my [number] year old {see|to} the horror film
lost item at screening, left my coat, forgotten scarf @front of house: i {left|forgot} my {scarf|umbrella|coat|glasses} in {screen 2|my seat}; did {anyone|someone} {find|hand in} a {black glove|child's jacket} after the {late show|matinee}
private screening, rent the hall, birthday party @events: {can we|how much is it to} {rent|hire} a {hall|screen} for {a birthday|a company party}; {i'd like a|we want a} private {showing|screening} for [number] people
# museum, art gallery
guided tour, group visit, school tour @visits: {can you|do you} {offer|arrange} {a guided tour|tours} in {french|german|sign language}; we are {a class|a group} of [number] and {want|would like} {a guide|to visit} [day]
wheelchair access, step free, accessibility @visits: is {the museum|the top floor} {accessible|reachable} {with a wheelchair|by lift}; my {mother|dad} {can't climb stairs|uses a walker} is there {a lift|a ramp}
photography rules, can i take photos, filming @rules: {am i allowed to|can i} {take photos|use flash|film} {inside|of the paintings}; is {photography|a tripod} {ok|permitted} in the {exhibition|gallery}
donate object, offer a painting, bequest @collections: i {own|inherited} {an old painting|some coins|a vase} {would you want it|and want to give it to you}; how do i {donate|offer} {an item|my grandfather's letters} to the collection
ticket reprint, tickets not in inbox, resend tickets @tickets: {my tickets never came|i didn't get the e-ticket} by email; {i can't find|i deleted} the {email|file} with my tickets {please send again|}
exhibition end date, how long is it on, last day @information: {until when|how long} {is|does} the {dinosaur|impressionist|photo} exhibition {run|on show}; is the {egypt|space} show still {on|open} in [month]
gift shop item, poster order, buy catalogue @shop: {do you|can you} {ship|sell} {the catalogue|posters|postcards} {online|abroad|}; the {mug|poster} i bought in the museum shop {was cracked|is damaged}
cloakroom, luggage storage, leave a bag @visits: {can i|where do i} {leave|store} my {backpack|suitcase} during the visit; is there {a cloakroom|somewhere for our bags}
# library, public library
book renewal, extend loan, keep book longer @loans: {can i|i want to} {renew|keep} {my books|the novel} {for another week|longer|}; please {extend|prolong} my loan {i haven't finished|}
overdue fine, late fee, why do i owe @loans: why {do i have|did i get} a {late fee|fine} {i returned it on time|for that book}; {how much|what} do i owe for {overdue|late} books
reserve book, hold request, is it available @loans: {can you reserve|please hold} {the new thriller|this atlas} for me; is {the cookbook|that book} {in|available} at {your branch|the main library}
lost book, damaged loan, replace a book @loans: i {lost|can't find} {a book i borrowed|the dvd}; {my dog|my toddler} {chewed|tore} a library book {what now|do i have to pay}
printing, scanner, copy machine @rooms: {can i|where can i} {print|scan|copy} {a form|some pages} {in colour|} at the library; the {printer|scanner} {ate my coins|is out of paper}
study room, book a table, meeting room @rooms: {i need|can we reserve} a {quiet|study|group} room [day]; {is there|do you have} a {place to study|desk} with {power|a plug}
e-book help, download audiobook, reading app @digital: the {e-book|audiobook} {won't open|disappeared} {on my tablet|in the app}; how do i {borrow|download} {ebooks|magazines} {on my kindle|at home}
library noise, noisy visitors, complaint about noise @rooms: {teenagers are|someone is} {shouting|playing music} in the {reading room|quiet area}; {it's impossible to|i can't} {read|concentrate} with all that {noise|talking}
story time, children events, kids reading @events: when is {the story hour|reading for kids}; do i need to {sign up|register} my {toddler|son} for {story time|the craft morning}
# theatre, concert hall
show cancelled, event called off, money back for concert @tickets: the {concert|play|show} was {cancelled|called off} {what happens to my tickets|how do we get our money}; {band|singer} is ill {do i get anything back|is there a new date}
late arrival, can i still enter, doors closed @ushers: {if i'm|we will be} {ten minutes|a bit} late {can we still get in|will you let us in}; they {didn't let us in|closed the doors} because the train was late
dress code, what to wear, smart clothes @information: {is there a|what's the} dress code {for the opera|for the gala}; can i {wear|come in} {jeans|trainers}
seat view blocked, pillar, bad view @tickets: {i sat|my seat was} behind a {pillar|tall column} and {saw nothing|missed half of it}; {couldn't see|hardly saw} the stage from {row z|the balcony}
sell ticket, pass tickets on, can't attend @tickets: i can't {make it|come} [day] {can i resell|can i give away} my ticket; {how do i|is it ok to} {put another name on|pass on} my concert ticket
# swimming pool, leisure centre
swimming lessons, learn to swim, course for kids @courses: {are there|when do} {swimming lessons|courses} {for adults|for a 5 year old} {start|}; i want to {learn to swim|sign my daughter up for lessons}
water temperature, pool too cold, chlorine @operations: the {water|small pool} is {freezing|too cold|cloudy}; {way too much|strong smell of} chlorine {my eyes burn|}
lane booking, lane swimming, free lanes @operations: {can i|how do i} {book|reserve} a lane {early in the morning|[day]}; {are|will} any lanes {be|} free for {serious|fast} swimmers
lost goggles, left towel, found property @reception: i {left|lost} my {goggles|towel|swim bag} {by the pool|in the shower}; has {a blue towel|a watch} been {found|handed in}
slippery floor, i fell, accident at pool @safety: {my son|i} {slipped|fell} on the {wet tiles|stairs}; {someone will get hurt|it's dangerous} the floor {by the slide|near the showers} is {slippery|broken}
# football club, sports team
season ticket, renew seat, stadium pass @tickets: {when can i|how do i} {renew|buy} {my|a} season ticket; i {want|would like} {the same seat|two seats} next season
shirt size, exchange jersey, fan shop @fan shop: the {jersey|shirt} is {too small|too tight} {can i swap it|}; {do you have|is there} the {away|home} shirt in {xl|kids sizes}
youth trial, join the team, sign up my son @youth: how can my {son|daughter} {join|try out for} the {under 12|youth} team; are there {trials|open trainings} [month]
match day parking, where to park, stadium bus @match day: where {can i|do visitors} {park|leave the car} on match day; is there {a bus|a shuttle} {to|from} the stadium
fan behaviour, abuse in stand, smoke in block @safety: {people|some fans} {behind us|in our block} {shouted insults|threw beer|lit flares}; i was {pushed|insulted} by {another fan|a steward}
# video streaming, tv service
buffering, video keeps stopping, slow stream @playback: the {film|series|stream} {keeps buffering|stops every minute|freezes}; {picture|video} is {blurry|stuttering} {on my tv|in the evening}
subtitles missing, wrong language, audio track @playback: {how do i|can't} {turn on|change} {subtitles|the language}; {the subtitles are|audio is} {out of sync|only in spanish}
shared profile, add a user, kids profile @profiles: can i {add|make} {another profile|a profile for my kids}; {how many|can three} people {can watch|watch} at {once|the same time}
series removed, title gone, when is season 2 @catalogue: why {did you remove|is} {my favourite show|the series} {gone|} ; {when does|is there} {season 3|the next season} {come out|start|}
plan upgrade, watch in 4k, more screens @plans: i want {a bigger plan|to upgrade} so {four of us can watch|i get 4k}; what's the difference between {basic|standard} and {premium|family}
stop auto renewal, end trial, quit streaming @plans: {how do i stop|don't want} the {trial|plan} {from renewing|to go on}; {end|stop} my streaming plan {please|now}
parental lock, block content, child protection @profiles: {how can i|i need to} {block|hide} {violent films|adult shows} for my kids; set {a child lock|an age limit} on {the tv|the tablet}
downloaded episodes, watch offline, on the plane @playback: {can i|how do i} watch {offline|on the plane}; my {downloads|saved episodes} {disappeared|won't play}
# video games, game studio
game crash, freezes at start, black screen @technical: the game {crashes|freezes} {when i load my save|at the menu|after the update}; i {only get|see} a black screen {when i start it|}
lost progress, save gone, missing level @technical: {all my progress is|my save file is} {gone|deleted}; i was on level [number] and now {i'm back at the start|it's all lost}
cheater report, toxic player, harassment in chat @community: {a player|someone} {is cheating|uses an aimbot}; {report|please ban} {this guy|a player} he {insults everyone|threatens people in chat}
unlock item, missing skin, bonus not given @store: i {bought|earned} {the dragon skin|a bonus pack} but {it isn't there|never got it}; where {are|is} my {coins|gems|reward}
banned, suspended account, appeal @community: why {was i|is my account} banned {i did nothing|}; i {want to appeal|disagree with} the {ban|suspension}
server down, can't connect, lag @technical: {are the servers down|is there an outage}; {so much lag|i get kicked out} {tonight|in every match}
"""
