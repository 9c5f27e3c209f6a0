"""Shops, deliveries and home services: what buyers and households write about."""
# ruff: noqa: E501  # phrase lists read best one entry to a line

TEXT = """
# web shop, online store
parcel late, delivery delay, where is my order @delivery: {my|the} {parcel|order|package} {still isn't here|hasn't turned up|should have come [when]}; i {ordered|bought} {a lamp|shoes|a toaster} {two weeks ago|[when]} and {nothing came|it never arrived}; {when will|how long until} my {order|parcel} {be here|get here}
wrong item, not what i ordered, mix-up @returns: {you sent|i got} {the wrong colour|a different size|someone else's order}; i ordered {a blue|a small} {shirt|rug} and {received|got} a {red|large} one
arrived broken, damaged goods, smashed in box @returns: the {vase|screen|mirror} {arrived|came} {broken|in pieces|cracked}; {box was crushed|parcel was wet} and {the plates are|the clock is} {smashed|damaged}
return goods, send it back, don't like it @returns: {how do i|i want to} {send back|return} the {boots|dress|headphones} {they don't fit|i don't like them|}; where {do i find|is} the return {label|form}
money for returned goods, refund wait, return credited @accounts: i {sent back|returned} the {coat|bag} {[when]|weeks ago} and {have not seen my money|still wait for the refund}; when do {i get|you pay} {the money|it} back for {the returned lamp|my return}
voucher refused, discount code, promo fails @marketing: the {discount|promo} code {doesn't work|is rejected|expired} at {checkout|the till}; {newsletter promised|you promised} [number]% off but {price is the same|nothing is deducted}
back in stock, sold out, availability @products: when will {the green one|size 42|this sofa} be {back|available} {again|}; {is|are} {the bike|these chairs} {still|} {in stock|sold out}
size advice, does it fit, measurements @products: {which size|what size} {should i take|is right} {if i am 180 cm|for wide feet}; is the {jacket|bed} {cut small|really 2 metres long}
change delivery address, moved house, wrong street on order @delivery: i {typed|gave} {an old address|the wrong house number} {can you change it|} {for my order|}; {please send|deliver} it {to my office|to my neighbour} instead
cancel order, ordered by mistake, stop the order @orders: {please cancel|stop} my order {i clicked twice|ordered by accident}; can i still {cancel|change} {the order|what i ordered} {from an hour ago|}
warranty, broke after a month, repair claim @service: the {kettle|vacuum|drone} {broke|died} after {two months|a year} {is it under warranty|}; {is there|how long is} {a guarantee|the warranty} {on|for} the {drill|mixer}
login shop, can't sign in, forgot shop password @accounts: {i can't log in|my login fails} {to see my orders|in the shop}; {forgot|lost} {my|the} password and the {reset email|link} {never comes|has expired}
invoice copy, need a receipt, tax number on bill @accounts: {i need|please send} {an invoice|the receipt} {for my company|with vat}; {where is|i can't find} the {bill|receipt} for {my order|the printer}
gift wrap, greeting card, send as a present @orders: {can you|do you} {wrap it|add a card} {it's a present|}; {please don't put|leave out} the {price|bill} {it's a gift|in the box}
# supermarket, grocery delivery
missing items, bag forgotten, not all delivered @deliveries: {the milk|half my shopping|one bag} {was missing|didn't come}; {you forgot|driver left out} the {eggs|nappies|bananas}
rotten food, spoiled, mouldy fruit @quality: the {strawberries|chicken|bread} {were mouldy|smelt bad|is past its date}; {found|there was} {a snail|glass|hair} in {the salad|my jam}
substitute item, replaced product, wrong brand @deliveries: {why did you replace|i didn't want} {oat milk with soy|another brand}; {no substitutes|don't swap items} {please|next time}
price difference, shelf price, overcharged at till @pricing: the {shelf|label} said [amount] but {the till|i was charged} {more|[amount]}; {special offer|two for one} was {not applied|ignored} at the till
loyalty stamps, points on purchase, bonus card shop @loyalty: my {points|stamps} from {saturday|the last shop} {are missing|weren't added}; how {do i|can i} {redeem|use} my {bonus|loyalty} points
delivery slot, earlier slot, no times free @deliveries: {there are no|can't find any} {slots|delivery times} {this week|[day]}; {can i|i need to} {change|move} my slot to {the evening|[day]}
allergens, ingredients, contains nuts @products: does the {cake|sauce|cereal} {contain|have} {nuts|milk|gluten}; {what's in|ingredients of} {your pesto|the soup}
trolley coin, car park shop, shopping cart stuck @store: {my coin is|a euro got} stuck in the {trolley|cart}; {someone|a trolley} {hit|scratched} my car in {your|the shop's} car park
# food delivery, restaurant app
cold food, meal arrived late, soggy pizza @orders: the {pizza|curry|soup} {came|was} {cold|an hour late}; {fries|noodles} were {soggy|ice cold} {again|}
wrong meal, missing dish, not my dinner @orders: {i got|they sent} {someone else's dinner|meat instead of veggie}; the {drinks|rice|sauce} {was missing|were not in the bag}
courier lost, rider went away, food not brought @couriers: the {rider|courier} {left it with a stranger|couldn't find my door}; {app says delivered|it says dropped off} but {there's no food|nothing here}
tip rider, change tip, tip by mistake @accounts: can i {add|change} the {tip|tip amount} {after the order|}; i {tipped|gave} [amount] {by mistake|too much}
restaurant closed, order rejected, nobody accepts @orders: {why was my order rejected|restaurant cancelled my order} {after 40 minutes|}; {it says closed|place is shut} but {i could order|the app took my order}
food allergy, peanut, ingredient warning @safety: {i told them|my note said} no {nuts|shrimp} and {there was|i found} {some in it|peanut sauce}; is {the burger|dish number [number]} {safe|ok} {for coeliacs|without dairy}
# parcel service, post office
parcel tracking stuck, no scan, shipment not moving @tracking: tracking {says the same|hasn't changed} {for days|since [when]}; my parcel {is stuck|has been sitting} {in [city]|at the depot}
left outside, stolen parcel, not at my door @delivery: {it says|the app says} {handed over|delivered} but {i got nothing|it's not here}; the {driver|postman} left {my box|it} {in the rain|on the street} and it's {gone|soaked}
missed delivery, collect parcel, slip in letterbox @delivery: i {got|found} a {slip|note} {where is my parcel|where do i pick it up}; {wasn't home|missed the postman} can you {come again|bring it [day]}
customs fee, import duty, held at the border @customs: why {do i have to|must i} pay {customs|import duty} on {a gift|a book}; my package from {abroad|[country]} is {held|stuck} {at customs|at the border}
postage price, how much to send, parcel abroad @counters: {how much is|what does it cost} {to send|to mail} {2 kilos|a letter|a box} {to [country]|}; {which|how many} stamp{s|} for a {postcard|big letter}
redirect mail, forward letters, moving house @redirection: {i'm moving|we moved} {please|can you} {forward|redirect} {my mail|our letters}; {hold|keep} my {post|letters} while {i'm on holiday|we are away}
lost letter, registered mail missing, contents gone @claims: a {registered letter|birthday card} {never arrived|is lost}; the envelope {arrived|was} {open|torn} and the {money|photo} was {gone|missing}
stamps order, special stamps, collector @counters: {do you sell|i'd like} {the new|special} stamps {for collectors|}; {where can i|how do i} {buy|print} stamps {online|}
# electronics repair, phone shop
cracked screen, glass broken, display dead @repairs: i {dropped|broke} my {phone|tablet} {screen is cracked|and the glass is broken}; {display|touch screen} {stays black|flickers|doesn't react}
battery drains, won't charge, dies quickly @repairs: the {battery|phone} {lasts two hours|is empty by noon}; my {laptop|watch} {doesn't charge|gets hot when charging}
repair status, is it ready, how long repair @repairs: is my {laptop|phone|camera} {ready|fixed} {yet|}; how {long|many days} does the {repair|fix} {take|still take}
data recovery, photos gone, rescue files @data: {can you|i need to} {rescue|recover} {my photos|files} from {a dead phone|a broken disk}; {all|my} pictures {vanished|are gone} after {the update|it fell in water}
water damage, fell in the toilet, wet phone @repairs: my phone {fell in the {toilet|sea}|got wet} {now it's silent|}; {spilled|poured} {coffee|tea} {over|on} my {keyboard|laptop}
trade-in, sell old phone, what is it worth @sales: what {do you pay|do i get} for {my old phone|a used tablet}; can i {trade in|swap} my {old|broken} {camera|phone}
accessory fit, which charger, case for model @sales: {which|what} {charger|case|cable} {fits|do i need for} {my phone|this tablet}; {do you have|is there} {a cover|glass} for {an older model|the mini}
# landlord, property management
water leak, dripping ceiling, pipe burst @repairs: {water is coming|it's dripping} {through the ceiling|from the flat above}; the {pipe|tap} {burst|leaks} {under the sink|} {and the floor is wet|}
no heating, radiator cold, boiler fault @repairs: {the heating|boiler} {is off|doesn't work} {in the whole flat|} {and we have a baby|}; {radiators|all rooms} {stay cold|are freezing}
rent payment, rent late, standing order for rent @rent: i {can't pay|will be late with} the rent {this month|}; {did you get|have you received} {my|the [month]} rent
notice to leave, move out, end tenancy @contracts: {i want to|we will} move out {[month]|} {how much notice|}; {what is the|how long is the} notice {period|} for {the flat|our lease}
security deposit flat, deductions, when is it repaid @contracts: when {will i|do we} get the {flat|rental} deposit {back|}; {you kept|why was} {[amount]|part} of the deposit {for cleaning|}
loud neighbour, music at night, barking dog @neighbours: {the people|the guy} {above|downstairs} {plays music all night|stomps around}; {that dog|a dog} {next door|in flat [number]} barks {all day|for hours}
keys lost, locked out, new lock @caretaker: i {lost|broke} my {key|front door key} {and i'm locked out|}; can {someone|the caretaker} {let me in|change the lock}
mould, damp wall, black spots @repairs: there is {mould|black stuff} {in the bathroom|behind the wardrobe}; {bedroom|kitchen} wall is {damp|wet} and {smells|the kids cough}
heating bill, service charge, yearly statement @rent: why {is|are} the {service charge|heating bill} {so high|double}; {i don't understand|please explain} the {yearly|utility} {statement|costs}
pets allowed, keep a dog, cat in flat @contracts: {may i|am i allowed to} {keep|have} a {cat|dog} {in the flat|}; {is|would} {a|one small} {dog|rabbit} {ok|a problem}
bins full, rubbish, recycling in yard @caretaker: the {bins|containers} {are overflowing|weren't emptied}; {someone dumped|there is} {an old sofa|rubbish} {in the yard|in the hallway}
lift stuck, stairwell light, entrance door @caretaker: the {lift|elevator} {is stuck|has been out} {since [when]|with someone inside}; {light|lamp} in the {stairwell|cellar} {is broken|flickers}
# electricity, energy supplier
power cut, no electricity, outage @outages: {the power is out|we have no electricity} {since this morning|in our street}; {lights went off|everything is dark} {in the whole building|} {when is it back|}
meter reading, submit reading, read the meter @metering: {here is|how do i send} my {meter reading|reading} {[number]|}; {nobody came|when does someone come} to read the {gas|electric} meter
high energy bill, estimate wrong, usage too high @billing desk: {my bill|the bill} {doubled|is twice as high} {but we were away|}; {you estimated|bill is based on} {way too much|an estimate that can't be right}
switch tariff, cheaper rate, green power @sales: {can i|i want to} {switch|change} to {a cheaper tariff|green power|night rate}; {which|what} {tariff|plan} is {best|cheapest} for {a heat pump|two people}
moving, new address for energy, final reading @moves: {i'm moving|we move} [month] {please end|what about} {the contract|our power}; {new tenant|i just moved in} how do i {register|start} {gas|electricity}
smell of gas, gas leak, emergency @emergency: {i smell gas|there's a gas smell} {in the kitchen|in the cellar}; {boiler hisses|pipe hisses} and {it stinks|i feel dizzy}
instalment too high, monthly amount, lower my payments for power @billing desk: {please lower|can you reduce} my monthly {amount|instalment}; {monthly|instalments} went {up|} to [amount] {why|without notice}
solar panels, feed in, sell power @sales: {how do i|can i} {sell|feed in} {solar|my own} power; {panels are|my solar roof is} {up|installed} {when do you connect it|}
# water company, waste service
brown water, bad taste, tap water dirty @quality: {our tap water|the water} {is brown|tastes of metal|smells of chlorine}; {is it|water is cloudy} safe to drink {with a baby|}
low pressure, no water, dry tap @network: {no water|nothing comes} {from the tap|since 6 am}; {water pressure|the shower} is {very weak|only a trickle}
bin not collected, missed pickup, rubbish not taken @collection: {you didn't|nobody} {empt{y|ied}|took} {our bin|the paper} [day]; {green|yellow} bin is {full|still there} {for weeks|}
bulky waste, old fridge, sofa pickup @collection: {how do i|can you} {get rid of|collect} {an old fridge|a sofa|a mattress}; {i need|please book} a {pickup|date} for {bulky stuff|furniture}
new bin, bigger container, broken lid @containers: {our bin|the lid} {is broken|was stolen}; {we need|i'd like} a {bigger|second} {bin|container}
# telecom, internet provider
no internet, wifi down, connection lost @network: {the internet|wifi|my connection} {is down|keeps dropping|is dead} {since [when]|again}; {router|modem} {blinks red|restarts all the time}
slow internet, low speed, slower than promised @network: {download|internet} is {so slow|only [number] mbit} {in the evening|}; {i pay for|you promised} {fast|[number] mbit} and get {a fraction|nothing near}
sim activation, new sim, number not active @mobile: {my new sim|the sim} {isn't active|says no service}; {how do i|when is} {activate|the} {my sim|sim active}
roaming cost, phone abroad, data abroad @mobile: {what does|how much is} {data|calling} {in [country]|abroad}; {i was charged|bill says} [amount] for {roaming|two minutes abroad}
keep my number, switch provider, port number @contracts: {can i|i want to} {keep|bring} my {old|} number {when i switch|}; {the number|porting} {hasn't moved|takes forever}
technician did not come, appointment missed, waiting for engineer @field service: {your technician|the engineer} {never came|didn't show}; i {waited all day|took a day off} for {the technician|nobody}
end phone contract, leave provider, contract end @contracts: {i want to|how can i} {leave|end} my {phone|internet} contract; when does my {contract|plan} {run out|end}
spam calls, nuisance calls, block number @mobile: {strangers|scammers} {call me|ring} {ten times a day|all the time}; {can you|how to} block {a number|these calls}
data used up, top speed gone, more gigabytes @mobile: {my data|all my data} {is gone|is used up} {after a week|}; {can i|how to} {add|buy} {more data|a few gigs}
bad reception, no signal, dead zone @network: {no signal|one bar} {at home|in my village|in the cellar}; {calls|my calls} {drop|are cut off} {every few minutes|in the kitchen}
# furniture, home store
assembly help, missing screws, instructions @assembly: {screws are|a shelf is} missing {from the box|}; {i don't understand|where are} the {instructions|steps} for the {wardrobe|desk}
delivery upstairs, carry to flat, heavy sofa @delivery: do {they|you} carry the {sofa|fridge} {upstairs|to the 4th floor}; {driver|they} {dumped|left} the {bed|table} {on the pavement|in front of the house}
kitchen planning, measure kitchen, showroom appointment @planning: {i'd like|can i get} an appointment {to plan a kitchen|with a designer}; {who|do you} {measures|come and measure} {our kitchen|the walls}
old furniture removal, take away mattress, disposal @delivery: can you {take away|remove} the old {mattress|couch} {when you deliver|}; {what happens to|do you collect} {my old fridge|used beds}
colour sample, fabric, wood sample @products: {can you send|i want} {fabric|colour} samples {of the grey|}; does {the oak|this blue} {match|look like} {the photo|walnut}
"""
