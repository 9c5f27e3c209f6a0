"""Travel and transport: what passengers and guests write about."""
# ruff: noqa: E501  # phrase lists read best one entry to a line

TEXT = """
# airline, flight booking
missing luggage, suitcase not on belt, baggage lost @baggage: my {suitcase|bag|luggage} {didn't arrive|wasn't on the belt|is still in [city]}; we {landed|got to [city]} but {our bags did not|the pushchair is missing}
broken suitcase, damaged baggage, wheel torn off @baggage: my {suitcase|bag} {came out broken|has a broken wheel|was ripped}; {the handle of|one wheel of} my case {is gone|was torn off}
baggage allowance, how heavy, hand luggage size @baggage: how {many bags|many kilos|big a bag} {can i|may i} {take|bring}; is {a guitar|a pram|a laptop bag} {allowed|included} as hand luggage
flight delay, plane late, compensation for delay @disruption: {our|the} flight was {[number] hours late|delayed all night} {do we get anything|i want compensation}; will the {plane|flight} to [city] leave on time
flight cancelled, rebook me, stranded @disruption: you {cancelled|scrapped} my flight to [city] {put me on another one|what now}; {i'm stuck|we are stranded} in [city] {with two kids|} {no flight|and no one helps}
change flight date, fly earlier, other day @bookings: {can i|i need to} {fly|travel} {a day earlier|[day] instead|later}; {move|change} my {flight|trip} to [month] please
wrong name on ticket, misspelled passenger, fix name @bookings: my {name|surname} is {spelled wrong|misspelt} on the {ticket|booking}; {i typed|you printed} {my maiden name|my nickname} {can you correct it|}
seat selection, sit together, window seat @bookings: {we want to|can my kids} sit {together|next to us}; {i'd like|can i get} {a window|an aisle|an extra legroom} seat
online check-in, boarding pass, can't check in @check-in: {i can't check in|the check in page fails} {online|in the app}; where {is|do i get} my boarding pass
special meal, vegetarian on board, allergy meal @on board: {i need|please add} a {vegan|halal|kosher|gluten free} meal; my son {is allergic to nuts|can't eat dairy} {what do you serve|}
travel with pet, dog in cabin, cat on plane @special help: {can i take|how do i bring} my {dog|cat} {on board|in the cabin}; {does|do} the {dog|rabbit} need {a passport|a box}
wheelchair at airport, assistance, elderly passenger @special help: my {grandmother|mum} {needs a wheelchair|can't walk far} at the {gate|airport}; {i need|please arrange} help {to board|to get to the plane}
air miles, points missing, loyalty status @loyalty: my {miles|points} {from the [city] flight|} {were not added|are missing}; how {do i|can i} {spend|use} my {points|miles}
# hotel, guest house
early check-in, arrive in the morning, room before noon @front desk: {can we|is it possible to} {check in|get the room} {early|before noon}; we {arrive|land} at {6|7|8} in the morning {is the room ready|can we drop the bags}
late arrival at hotel, reception closed, after midnight @front desk: we {will arrive|get in} {after midnight|very late} {is someone there|how do we get the key}; {our|my} train is late {please keep the room|will reception be open}
noisy room, loud neighbours, can't sleep @housekeeping: the {room|people} {next door|above us} {is so loud|kept us awake}; {i couldn't sleep|no sleep at all} because of {the bar|the lift|building work}
dirty room, no towels, bed not made @housekeeping: {there were|we found} {hairs in the bed|stains on the sheets}; {nobody|no one} {made our bed|brought towels} {today|}
heating broken, aircon fault, cold shower @maintenance: the {air conditioning|heating|shower} in {room [number]|our room} {doesn't work|is cold|drips}; {there is no|we have no} hot water
cancel stay, free cancellation, can't come @reservations: {i have to|we need to} cancel our {room|stay} {for [day]|} {we are ill|}; {can i still|until when can i} cancel {for free|without paying}
add a night, stay longer, extend stay @reservations: {can we|i'd like to} {stay|add} {one more night|two more nights}; is {the|our} room {free|available} until [day]
breakfast question, what time is breakfast, gluten free buffet @restaurant: {when is|is there} breakfast {on sundays|}; do you {have|serve} {vegan|gluten free} {breakfast|options}
minibar bill, wrong hotel invoice, i had nothing from the minibar @accounts: {i never touched|we took nothing from} the minibar {but it's on the bill|}; {the bill|my invoice} lists {a bottle of wine|parking} {we didn't have|that's not ours}
hotel parking, garage, car charging @front desk: {do you have|is there} {parking|a garage|a charger for electric cars}; how much is {it to park|the garage} {per night|}
pet friendly, bring dog to room, cat welcome @reservations: are {dogs|pets|cats} {welcome|allowed} {in the room|}; we {travel|come} with a {big|small} dog {is that ok|}
forgotten charger, left in room, send my things @housekeeping: i {left|forgot} my {charger|pyjamas|ring|book} in {room [number]|the bathroom}; can you {post|send} {my jacket|the toy} {we left in the room|home}
airport transfer, shuttle, pick me up @concierge: {can someone|do you} {pick us up|collect guests} {at|from} the airport; {is there|when does} {a shuttle|the hotel bus} {leave|}
# car rental, car hire
flat tyre, breakdown, rental won't start @roadside: {i have a flat tyre|the car won't start} {on the motorway|near [city]}; the hire car {broke down|is smoking} {we need help|send someone}
scratch dispute, damage i didn't cause, old dent @claims: the {scratch|dent} was {already there|there before}; {you blame me|i'm being blamed} for {a chip|damage} i didn't {do|cause}
deposit not released, blocked money, hold still there @accounts: when do {i|we} get the {deposit|hold} {back|released} for the {car|van}; the {deposit|blocked amount} {is still held|hasn't been freed} {after two weeks|}
extra driver, my wife drives too, second driver @bookings: {can my wife|may a friend} {drive too|drive the car}; how {do i|much to} add {a second driver|my partner}
fuel policy, return with full tank, petrol or diesel @information: do i {return|bring back} it {full|with a full tank}; {does it take|is it} {diesel|petrol|electric}
child seat, baby seat, booster @bookings: {we need|please add} {a child seat|two boosters}; {there was no|you forgot the} baby seat {in the car|}
wrong car class, smaller car, not what i booked @branch: {i booked|i paid for} {a van|an automatic|an estate} and got {a tiny car|a manual}; {that's not|this isn't} the {car|class} i {reserved|ordered}
speeding notice, toll, parking fine in rental @accounts: i {got|received} a {speeding fine|toll notice} {from you|} {months later|}; {what is this|why is there an} admin fee for a {parking|traffic} fine
return outside hours, drop the key, closed branch @branch: where do i {leave|drop} the {keys|car} {at night|on sunday}; {can i|is it ok to} {bring it back|return the van} {after closing|}
young driver, new licence, can i rent at 19 @information: i'm [number] {can i rent a van|do i pay more}; {i only have|is} {a new|a foreign} licence {ok|enough}
# railway, train company
train late, missed connection, arrive too late @delays: my train {was [number] minutes late|never came} and i missed {the connection|my flight}; {we sat|stood} in {the middle of nowhere|a tunnel} for {an hour|two hours}
seat reservation, no seat, someone sits in my place @reservations: {someone was|people were} in my {reserved|} seat; {can i|how do i} {reserve|book} {a table|two seats together}
rail discount, student fare, senior ticket @fares: {is there|do i get} a {student|senior|family} {discount|fare}; my {discount code|railcard} {doesn't work|is refused}
bike on train, cycle space, take a bicycle @reservations: {can i|how do i} {take|bring} my bike {on the train|on the regional}; is there {space|a ticket} for {two bicycles|a tandem}
ticket machine broken, machine ate coins, could not buy @stations: the {ticket machine|vending machine} {at [city] station|on platform 2} {is broken|swallowed my coins}; i {couldn't|was not able to} buy {a ticket|one} {machine dead|} and got fined
lost on train, left my bag on the train, umbrella on seat @lost property: i {left|forgot} {my laptop bag|an umbrella|a pram} on the {8 o'clock|last} train {to [city]|}; who {do i call|has} {my rucksack|lost things}
conductor rude, unfriendly staff, complaint about inspector @conduct: the {inspector|conductor|guard} {shouted at me|was very rude}; {your staff|the woman at the counter} {laughed at us|treated me badly}
lift out of order, station access, no ramp @stations: the {lift|escalator} at {[city]|platform 4} {has been broken for weeks|is out of order}; {how do i get|couldn't get} my {pram|wheelchair} {to the platform|up the stairs}
night train, sleeper cabin, bunk @reservations: {is there|do you run} a {night train|sleeper} to [city]; {how many|do} {beds|people} {are|fit} in a {cabin|compartment}
# bus, city transport
bus never came, driver skipped stop, missed bus @operations: the {number [number]|school} bus {never came|drove past me}; {i waited|stood} [number] minutes and {no bus|nothing came}
route change, stop moved, where does it stop now @information: where {does|will} the {[number]|night bus} stop {now|during the road works}; has {the timetable|line [number]} changed
monthly ticket, travel pass, cheaper fare @fares: how much is {a monthly pass|a week ticket} {for students|}; {i want|can i get} a pass for {two zones|the whole city}
fined without ticket, penalty fare, appeal ticket fine @fines: i was {fined|given a penalty} {but my phone died|although i had a ticket}; {i want to|can i} {contest|dispute} the {penalty|fine} from the tram
dangerous driving, driver on phone, too fast @conduct: {your driver|the bus driver} {was texting|drove like mad|ran a red light}; driver {braked|set off} so hard {my gran fell|people fell}
pram on bus, room for wheelchair, ramp broken @operations: {no room|there was no space} for my {pram|wheelchair}; the driver {didn't|would not} lower the ramp
# taxi, ride app
driver cancelled, no car came, waiting forever @rides: {driver|my driver} {cancelled|didn't show up} {at the last minute|after 20 minutes}; {still waiting|where is} {for my|my} {cab|taxi|ride}
wrong route, detour, overpriced ride @fares: the driver {took a huge detour|got lost} and i {paid double|paid for it}; {why was|how can} {the ride|a 3 km trip} {be [amount]|so expensive}
left phone in taxi, forgotten in cab, contact driver @lost items: i {left|forgot} my {wallet|headphones|shopping} in {the cab|the car}; can you {call|reach} the driver {my phone is on the back seat|}
unsafe ride, driver scary, seat belt missing @safety: {the driver made me uncomfortable|i didn't feel safe}; {there were|car had} no {seat belts|working lights}
book in advance, pick up tomorrow, early ride @rides: {i need|can i book} a {cab|ride} {for tomorrow 5 am|to the airport [day]}; {can i|how do i} {schedule|plan} a {trip|pickup}
rating wrong, unfair stars, passenger rating @app: why is my {rating|score} {so low|3 stars}; {i gave|clicked} the wrong {stars|rating} {by mistake|}
# ferry, cruise
sailing cancelled by storm, rough sea, ferry not running @departures: {is the ferry|are the boats} {running|going} {in this wind|today}; the {crossing|sailing} was cancelled {because of the storm|} {where do we sleep|}
cabin upgrade, sea view, bigger cabin @bookings: {can we|how much to} {upgrade|switch} to {a sea view|a balcony cabin|a bigger cabin}; our cabin {has no window|smells of diesel}
seasickness, doctor on ship, feel ill @on board: i {get seasick|feel terrible} {what can i take|is there a doctor}; {is there|do you have} a {nurse|doctor} on the ship
vehicle height, camper on ferry, trailer @bookings: {our van is|my camper is} [number] metres {high|long} {does it fit|}; do i pay {more|extra} for {a trailer|a roof box}
excursion booking, shore trip, island tour @excursions: {which|what} {trips|tours} {can we do|are there} in [city]; {i want to book|put us down for} the {island|snorkel} trip
# camping, holiday park
pitch booking, tent space, caravan spot @pitches: {is there|do you have} {space|a pitch} for {a tent|a caravan} [month]; {can we|i want} {a shady|a quiet} {spot|pitch} {near the lake|}
noise at night, loud party, quiet hours @site rules: the {campers|kids} {next to us|at pitch [number]} {party all night|sing until 3}; {when are|who checks} the quiet hours
no power, electric hook-up, fuse blown @site technics: {the power|electricity} at our pitch {is off|keeps going}; {fuse|socket} {blew|is dead} {when we boil water|}
campfire rules, barbecue allowed, open fire @site rules: {can we|are we allowed to} {light a fire|use a barbecue}; {is|are} {gas stoves|charcoal grills} {ok|forbidden}
bike rental, canoe hire, rent a boat @activities: {can we|where can i} {rent|hire} {bikes|a canoe|a pedal boat}; how much {is a|for a} {canoe|mountain bike} {per day|}
"""
